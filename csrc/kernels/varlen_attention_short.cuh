#pragma once

#include "kernels/varlen_attention_warp.cuh"

namespace bertfast {

// A whole sequence of up to kMaxRows to a block, 16 queries to a warp.
template <int kHeadSize, int kMaxRows>
struct ShortLayout {
  static constexpr int kThreads = kMaxRows / kWarpQueries * kWarpSize;
  static constexpr int kTileElements = kMaxRows * kHeadSize;
  static constexpr size_t kSmemBytes = 3 * kTileElements * 2;  // queries, keys, values
  // As many blocks on a multiprocessor as leave each thread the registers that it needs.
  static constexpr int min_blocks(TensorCores cores) {
    if (cores == TensorCores::kTuring) return 1;
    return kMaxRows > 64 ? 2 : kHeadSize > 64 ? 3 : 4;
  }
  // Products come in groups of so many keys; groups without a key are left out.
  static constexpr int kGroupKeys = 32;
  static constexpr int kGroups = kMaxRows / kGroupKeys;
};

// All keys and values are in shared memory at once, so a softmax needs one pass, and k, v and the
// queries are read once from global memory. The values arrive while scores are computed.
template <typename T, int kHeadSize, int kMaxRows, TensorCores kCores, typename Modifier>
__device__ __forceinline__ void short_attention(const PackedHead<T>& head, const Sequence& sequence,
                                                float twice_scale_log2) {
  using Layout = ShortLayout<kHeadSize, kMaxRows>;
  using TensorWarp = AttentionWarp<T, kHeadSize, kCores>;
  constexpr int kGroupKeys = Layout::kGroupKeys, kGroupTiles = kGroupKeys / kTileColumns;
  const unsigned thread = threadIdx.x;
  const int first_query = static_cast<int>(thread / kWarpSize) * kWarpQueries;
  constexpr int kKeys = 0, kValues = Layout::kTileElements;  // where they lie in shared memory
  const int place = 2 * Layout::kTileElements + first_query * kHeadSize;
  T* keys = shared_memory<T>() + kKeys;
  T* values = shared_memory<T>() + kValues;
  T* warp_queries = shared_memory<T>() + place;
  const int num_rows = sequence.num_queries - first_query;
  const Modifier modifier(sequence);
  const KeyRange range = modifier.keys(0, sequence.num_queries);

  TileCopy<T, kHeadSize, kWarpQueries, kWarpSize, kCores> query_copy(head.q, head.row_stride,
                                                                     thread % kWarpSize);
  TileCopy<T, kHeadSize, kMaxRows, Layout::kThreads, kCores> key_copy(head.k, head.row_stride,
                                                                      thread);
  TileCopy<T, kHeadSize, kMaxRows, Layout::kThreads, kCores> value_copy(head.v, head.row_stride,
                                                                        thread);
  query_copy.start(warp_queries, first_query, sequence.num_queries);
  key_copy.start(keys, 0, range.end);
  value_copy.start(values, 0, range.end);

  query_copy.template finish<1>(warp_queries);
  key_copy.template finish<1>(keys);
  sync_block();
  TensorWarp warp;
  float weights[Layout::kGroups * kGroupTiles][4];
  const bool is_needed = num_rows > 0 && range.end > 0;
  if (is_needed) {
    warp.load_queries(place);
#pragma unroll
    for (int i = 0; i < Layout::kGroups; ++i) {
      const int key = i * kGroupKeys;
      float (*scores)[4] = weights + i * kGroupTiles;
      if (key < range.end) {
        warp.template score<kGroupKeys>(kKeys + key * kHeadSize, scores);
        TensorWarp::template change<kGroupKeys>(modifier, first_query, key, scores);
      } else {
#pragma unroll
        for (int j = 0; j < kGroupTiles * 4; ++j) scores[j / 4][j % 4] = -INFINITY;
      }
    }
    warp.template weigh<kMaxRows, true>(weights, twice_scale_log2);
  }
  value_copy.template finish<0>(values);
  sync_block();
  if (is_needed) {
#pragma unroll
    for (int i = 0; i < Layout::kGroups; ++i) {
      const int key = i * kGroupKeys;
      if (key >= range.end) continue;
      warp.template add_values<kGroupKeys>(weights + i * kGroupTiles, kValues + key * kHeadSize);
    }
  }
  if (num_rows <= 0) return;
  warp.store_out(place, head.out(first_query), head.out_stride, num_rows);
}

// One block for one head of one sequence. All heads of a sequence follow each other.
template <typename T, int kHeadSize, int kMaxRows, TensorCores kCores, typename Modifier>
__global__ void __launch_bounds__(ShortLayout<kHeadSize, kMaxRows>::kThreads,
                                  ShortLayout<kHeadSize, kMaxRows>::min_blocks(kCores))
    varlen_attention_short_kernel(VarlenAttentionParams params) {
  if constexpr (!is_compiled_for<kCores>()) {
    trap();
  } else {
    const int index = static_cast<int>(blockIdx.x % params.num_heads);
    const Sequence sequence = load_sequence(params, blockIdx.x / params.num_heads);
    if (sequence.num_queries == 0) return;
    const PackedHead<T> head(params, sequence, index, kHeadSize);
    short_attention<T, kHeadSize, kMaxRows, kCores, Modifier>(head, sequence,
                                                              twice_log2_scale(params));
  }
}

}  // namespace bertfast
