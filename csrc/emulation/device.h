// The CUDA that kernels see when a host compiler reads them. Included by kernels/intrinsics.cuh.
#pragma once

#include <driver_types.h>
#include <math.h>  // fabsf and its like, outside of any namespace as in CUDA
#include <vector_types.h>

#include <cstddef>
#include <cstdint>

#include "emulation/float16.h"
#include "emulation/location.h"
#include "emulation/multiprocessor.h"

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)

// CUDA's own names. The multiprocessor sets them before it lets a thread go on.
inline thread_local uint3 threadIdx = {};
inline thread_local uint3 blockIdx = {};
inline thread_local dim3 blockDim = {};
inline thread_local dim3 gridDim = {};

namespace bertfast::emulation {

inline void check_access(const void* address, size_t num_bytes, Location where) {
  Multiprocessor::current().check_access(address, num_bytes, where);
}

inline void* shared_memory() { return Multiprocessor::current().shared_memory(); }

inline void block_barrier(Location where) { Multiprocessor::current().sync_block(where); }

struct Exchange {
  float value;
  int source_lane;
  float result;
};

inline void exchange(const std::vector<void*>& lanes) {
  for (void* lane : lanes) {
    auto* mine = static_cast<Exchange*>(lane);
    mine->result = static_cast<Exchange*>(lanes[mine->source_lane])->value;
  }
}

inline float exchange_xor(float value, int lane_mask, Location where) {
  Multiprocessor& multiprocessor = Multiprocessor::current();
  Exchange operand = {value, multiprocessor.lane() ^ lane_mask, NAN};
  multiprocessor.warp_collective("shuffle_xor", exchange, &operand, where);
  return operand.result;
}

struct Vote {
  bool value;
  uint32_t result;
};

inline void count_votes(const std::vector<void*>& lanes) {
  uint32_t result = 0;
  for (size_t i = 0; i < lanes.size(); ++i) {
    result |= static_cast<uint32_t>(static_cast<Vote*>(lanes[i])->value) << i;
  }
  for (void* lane : lanes) static_cast<Vote*>(lane)->result = result;
}

inline uint32_t ballot(bool vote, Location where) {
  Vote operand = {vote, 0};
  Multiprocessor::current().warp_collective("ballot", count_votes, &operand, where);
  return operand.result;
}

}  // namespace bertfast::emulation
