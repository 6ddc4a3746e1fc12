#pragma once

#include "kernels/varlen_attention_warp.cuh"

namespace bertfast {

// A whole sequence of up to kMaxRows to a block, 16 queries to a warp.
template <int kHeadSize, int kMaxRows>
struct ShortLayout {
  static constexpr int kThreads = kMaxRows / kWarpQueries * kWarpSize;
  static constexpr int kTileElements = kMaxRows * kHeadSize;
  static constexpr size_t kSmemBytes = 3 * kTileElements * 2;  // queries, keys, values
  static constexpr int kMinBlocks = kMaxRows > 64 ? 2 : kHeadSize > 64 ? 3 : 4;
  // Products come in groups of so many keys; groups without a key are left out.
  static constexpr int kGroupKeys = 32;
  static constexpr int kGroups = kMaxRows / kGroupKeys;
};

// All keys and values are in shared memory at once, so a softmax needs one pass, and k, v and the
// queries are read once from global memory. The values arrive while scores are computed.
template <typename T, int kHeadSize, int kMaxRows, TensorCores kCores, typename Modifier>
__device__ __forceinline__ void short_attention(const VarlenAttentionParams& params,
                                                const Sequence& sequence, int head) {
  using Layout = ShortLayout<kHeadSize, kMaxRows>;
  using TensorWarp = AttentionWarp<T, kHeadSize, kCores>;
  constexpr int kGroupKeys = Layout::kGroupKeys, kGroupTiles = kGroupKeys / kTileColumns;
  const unsigned thread = threadIdx.x;
  const int first_query = static_cast<int>(thread / kWarpSize) * kWarpQueries;
  const int head_elements = params.num_heads * kHeadSize;
  const int row_stride = 3 * head_elements;
  const T* q =
      static_cast<const T*>(params.qkv) + sequence.first_row * row_stride + head * kHeadSize;
  T* keys = shared_memory<T>();
  T* values = keys + Layout::kTileElements;
  T* warp_queries = values + Layout::kTileElements + first_query * kHeadSize;
  const int num_rows = sequence.num_queries - first_query;
  const Modifier modifier(sequence);
  const KeyRange range = modifier.keys(0, sequence.num_queries);

  TileCopy<T, kHeadSize, kWarpQueries, kWarpSize, kCores> query_copy;
  TileCopy<T, kHeadSize, kMaxRows, Layout::kThreads, kCores> key_copy, value_copy;
  query_copy.start(warp_queries, q + first_query * row_stride, row_stride, num_rows,
                   thread % kWarpSize);
  key_copy.start(keys, q + head_elements, row_stride, range.end, thread);
  value_copy.start(values, q + 2 * head_elements, row_stride, range.end, thread);

  query_copy.template finish<1>(warp_queries, thread % kWarpSize);
  key_copy.template finish<1>(keys, thread);
  sync_block();
  TensorWarp warp;
  float weights[Layout::kGroups * kGroupTiles][4];
  const bool is_needed = num_rows > 0 && range.end > 0;
  if (is_needed) {
    warp.load_queries(warp_queries);
#pragma unroll
    for (int i = 0; i < Layout::kGroups; ++i) {
      const int key = i * kGroupKeys;
      float (*scores)[4] = weights + i * kGroupTiles;
      if (key < range.end) warp.template score<kGroupKeys>(keys + key * kHeadSize, scores);
      TensorWarp::template change<kGroupKeys>(modifier, first_query, key, scores);
    }
    warp.template weigh<kMaxRows>(weights, log2_scale(params));
  }
  value_copy.template finish<0>(values, thread);
  sync_block();
  if (is_needed) {
#pragma unroll
    for (int i = 0; i < Layout::kGroups; ++i) {
      const int key = i * kGroupKeys;
      if (key >= range.end) continue;
      warp.template add_values<kGroupKeys>(weights + i * kGroupTiles, values + key * kHeadSize);
    }
  }
  if (num_rows <= 0) return;
  T* out = static_cast<T*>(params.out) + (sequence.first_row + first_query) * head_elements +
           head * kHeadSize;
  warp.store_out(warp_queries, out, head_elements, num_rows);
}

// One block for one head of one sequence. All heads of a sequence follow each other.
template <typename T, int kHeadSize, int kMaxRows, TensorCores kCores, typename Modifier>
__global__ void __launch_bounds__(ShortLayout<kHeadSize, kMaxRows>::kThreads,
                                  ShortLayout<kHeadSize, kMaxRows>::kMinBlocks)
    varlen_attention_short_kernel(VarlenAttentionParams params) {
  if constexpr (!is_compiled_for<kCores>()) {
    trap();
  } else {
    const int head = static_cast<int>(blockIdx.x % params.num_heads);
    const Sequence sequence = load_sequence(params, blockIdx.x / params.num_heads);
    if (sequence.num_queries == 0) return;
    short_attention<T, kHeadSize, kMaxRows, kCores, Modifier>(params, sequence, head);
  }
}

}  // namespace bertfast
