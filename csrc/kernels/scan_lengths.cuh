// From the lengths of the packed sequences to their offsets. Part of unpad_input.
#pragma once

#include "kernels/intrinsics.cuh"
#include "kernels/unpad_input_ids.cuh"

namespace bertfast {

// One block: the lengths of a whole batch are a few kilobytes.
inline constexpr int kScanThreads = 512;

// Of neighbouring sequences.
struct LengthSummary {
  int num_tokens;
  int num_keys;
  int max_seqlen;
  int fewest_keys;
};

inline constexpr int kScanWarps = kScanThreads / kWarpSize;
inline constexpr size_t kScanSmemBytes =
    2 * kScanThreads * sizeof(LengthSummary) + kScanWarps * sizeof(uint32_t);

__device__ __forceinline__ LengthSummary combine(const LengthSummary& left,
                                                 const LengthSummary& right) {
  return {left.num_tokens + right.num_tokens, left.num_keys + right.num_keys,
          left.max_seqlen > right.max_seqlen ? left.max_seqlen : right.max_seqlen,
          left.fewest_keys < right.fewest_keys ? left.fewest_keys : right.fewest_keys};
}

// The summary of the threads up to and including this one, each with its own `summary`.
__device__ __forceinline__ LengthSummary scan_block(LengthSummary summary) {
  LengthSummary* slots = shared_memory<LengthSummary>();
  const int thread = threadIdx.x;
  int parity = 0;  // Slots take turns, so that one barrier a step is enough.
  for (int distance = 1; distance < kScanThreads; distance *= 2, parity ^= 1) {
    LengthSummary* own = slots + parity * kScanThreads + thread;
    store(own, Vector<LengthSummary, 1>{summary});
    sync_block();
    if (thread >= distance) summary = combine(load<1>(own - distance)[0], summary);
  }
  return summary;
}

// Where each warp leaves the bits of its sequences: after the slots of scan_block.
__device__ __forceinline__ uint32_t* bit_slots() {
  return reinterpret_cast<uint32_t*>(shared_memory<LengthSummary>() + 2 * kScanThreads);
}

__device__ __forceinline__ uint32_t gather_bits() {
  uint32_t bits = 0;
#pragma unroll
  for (int warp = 0; warp < kScanWarps; ++warp) bits |= load<1>(bit_slots() + warp)[0];
  return bits;
}

// A thread sums up neighbouring sequences, and then gives each of them its offset.
__global__ void __launch_bounds__(kScanThreads) scan_lengths_kernel(UnpadInputParams params) {
  const int64_t batch_size = params.batch_size;
  const int64_t per_thread = (batch_size + kScanThreads - 1) / kScanThreads;
  const int64_t first = threadIdx.x * per_thread;
  const int64_t last = first + per_thread < batch_size ? first + per_thread : batch_size;
  int32_t* ends = params.cu_seqlens + 1;  // still lengths

  LengthSummary own = {0, 0, 0, 0x7fffffff};
  uint32_t out_of_range = 0;
  for (int64_t i = first; i < last; ++i) {
    const int length = load<1>(ends + i)[0], keys = load<1>(params.key_lengths + i)[0];
    own = combine(own, {length, keys, length, keys});
    out_of_range |= static_cast<uint32_t>(load<1>(params.first_rows + i)[0]);  // still bits
  }
  out_of_range = bits_of_warp(out_of_range);
  if (threadIdx.x % kWarpSize == 0) {
    store(bit_slots() + threadIdx.x / kWarpSize, Vector<uint32_t, 1>{out_of_range});
  }
  // Its barriers are the ones that the bits need, too.
  const LengthSummary up_to_here = scan_block(own);
  int end = up_to_here.num_tokens - own.num_tokens;
  for (int64_t i = first; i < last; ++i) {
    end += load<1>(ends + i)[0];
    store(ends + i, Vector<int32_t, 1>{end});
  }
  if (threadIdx.x == 0) store(params.cu_seqlens, Vector<int32_t, 1>{0});
  if (threadIdx.x != kScanThreads - 1) return;
  const int fewest_keys = batch_size == 0 ? 0 : up_to_here.fewest_keys;
  store(&params.counts->num_tokens, Vector<int64_t, 1>{up_to_here.num_tokens});
  store(&params.counts->max_seqlen, Vector<int64_t, 1>{up_to_here.max_seqlen});
  store(&params.counts->num_keys, Vector<int64_t, 1>{up_to_here.num_keys});
  store(&params.counts->fewest_keys, Vector<int64_t, 1>{fewest_keys});
  store(&params.counts->out_of_range, Vector<int64_t, 1>{gather_bits()});
}

}  // namespace bertfast
