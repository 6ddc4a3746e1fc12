// Bits that threads set and count together, device and emulated form side by side.
#pragma once

#include <cstdint>

#include "kernels/intrinsics.cuh"

namespace bertfast {

// Bit i of the result is what lane i of the warp says. All 32 lanes take part.
__device__ __forceinline__ uint32_t ballot(bool vote,
                                           [[maybe_unused]] Location where = Location::here()) {
#ifdef BERTFAST_EMULATE
  return emulation::ballot(vote, where);
#else
  return __ballot_sync(0xffffffffu, vote);
#endif
}

__device__ __forceinline__ int count_bits(uint32_t bits) {
#ifdef BERTFAST_EMULATE
  return __builtin_popcount(bits);
#else
  return __popc(bits);
#endif
}

// Any number of threads may set bits of one word at the same time.
__device__ __forceinline__ void set_bits(uint32_t* word, uint32_t bits,
                                         [[maybe_unused]] Location where = Location::here()) {
#ifdef BERTFAST_EMULATE
  emulation::check_access(word, sizeof(uint32_t), where);
  __atomic_fetch_or(word, bits, __ATOMIC_RELAXED);
#else
  atomicOr(word, bits);
#endif
}

}  // namespace bertfast
