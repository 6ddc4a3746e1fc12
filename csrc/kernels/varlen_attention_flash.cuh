#pragma once

#include "kernels/varlen_attention_warp.cuh"

namespace bertfast {

// 64 queries to a block, 16 to a warp: small enough that few rows are wasted at the end of a
// sequence and that a single one reaches many multiprocessors.
template <int kHeadSize>
struct FlashLayout {
  static constexpr int kWarps = 4;
  static constexpr int kThreads = kWarps * kWarpSize;
  static constexpr int kQueries = kWarps * kWarpQueries;
  static constexpr int kKeys = kHeadSize <= 64 ? 64 : 32;
  // A stage holds the keys and the values of one step. The queries pass through the second stage
  // to registers before it gets its first keys, so that 3 blocks fit into 100 KB.
  static constexpr int kTileElements = kKeys * kHeadSize;
  static constexpr int kStageElements = 2 * kTileElements;
  static constexpr size_t kSmemBytes = 2 * kStageElements * 2;
  static_assert(kQueries * kHeadSize <= kStageElements);
  static constexpr int kMinBlocks = kHeadSize <= 64 ? 4 : 3;
};

// Keys and values go by in two stages: while one is worked on, the other is filled.
template <typename T, int kHeadSize, TensorCores kCores, typename Modifier>
__device__ __forceinline__ void flash_attention(const VarlenAttentionParams& params,
                                                const Sequence& sequence, int first_query,
                                                int head) {
  using Layout = FlashLayout<kHeadSize>;
  using TensorWarp = AttentionWarp<T, kHeadSize, kCores>;
  constexpr int kKeys = Layout::kKeys;
  const unsigned thread = threadIdx.x;
  const int warp_row = static_cast<int>(thread / kWarpSize) * kWarpQueries;
  const int head_elements = params.num_heads * kHeadSize;
  const int row_stride = 3 * head_elements;
  const T* q =
      static_cast<const T*>(params.qkv) + sequence.first_row * row_stride + head * kHeadSize;
  const T* k = q + head_elements;
  const T* v = k + head_elements;
  T* stages = shared_memory<T>();
  const auto stage = [&](int i) { return stages + i % 2 * Layout::kStageElements; };

  const Modifier modifier(sequence);
  const KeyRange range = modifier.keys(first_query, Layout::kQueries);
  const int num_steps = (range.end - range.begin + kKeys - 1) / kKeys;
  const float scale_log2 = log2_scale(params);

  TileCopy<T, kHeadSize, kWarpQueries, kWarpSize, kCores> query_copy;
  TileCopy<T, kHeadSize, kKeys, Layout::kThreads, kCores> key_copy, value_copy;
  const auto start_step = [&](int step) {
    const int key = range.begin + step * kKeys;
    T* keys = stage(step);
    key_copy.start(keys, k + static_cast<int64_t>(key) * row_stride, row_stride, range.end - key,
                   thread);
    value_copy.start(keys + Layout::kTileElements, v + static_cast<int64_t>(key) * row_stride,
                     row_stride, range.end - key, thread);
  };

  T* warp_queries = stage(1) + warp_row * kHeadSize;
  const int num_rows = sequence.num_queries - first_query - warp_row;
  TensorWarp warp;
  if (num_steps > 0) {
    query_copy.start(warp_queries, q + static_cast<int64_t>(first_query + warp_row) * row_stride,
                     row_stride, num_rows, thread % kWarpSize);
    start_step(0);
    query_copy.template finish<2>(warp_queries, thread % kWarpSize);
    sync_warp();
    warp.load_queries(warp_queries);
  }

  for (int step = 0; step < num_steps; ++step) {
    T* keys = stage(step);
    T* values = keys + Layout::kTileElements;
    key_copy.template finish<0>(keys, thread);
    value_copy.template finish<0>(values, thread);
    // Now this step's keys are everybody's, and nobody reads the other stage any more.
    sync_block();
    if (step + 1 < num_steps) start_step(step + 1);
    if (num_rows <= 0) continue;
    float scores[kKeys / kTileColumns][4];
    warp.template score<kKeys>(keys, scores);
    TensorWarp::template change<kKeys>(modifier, first_query + warp_row, range.begin + step * kKeys,
                                       scores);
    warp.template weigh<kKeys>(scores, scale_log2);
    warp.template add_values<kKeys>(scores, values);
  }
  if (num_rows <= 0) return;
  // The stage that the last step did not use is free.
  T* out = static_cast<T*>(params.out) +
           (sequence.first_row + first_query + warp_row) * head_elements + head * kHeadSize;
  warp.store_out(stage(num_steps) + warp_row * kHeadSize, out, head_elements, num_rows);
}

// One block for 64 queries of one head. All heads of a tile of queries follow each other.
template <typename T, int kHeadSize, TensorCores kCores, typename Modifier>
__global__ void __launch_bounds__(FlashLayout<kHeadSize>::kThreads,
                                  FlashLayout<kHeadSize>::kMinBlocks)
    varlen_attention_flash_kernel(VarlenAttentionParams params) {
  if constexpr (!is_compiled_for<kCores>()) {
    trap();
  } else {
    const int head = static_cast<int>(blockIdx.x % params.num_heads);
    const QueryTile tile =
        find_query_tile<FlashLayout<kHeadSize>::kQueries>(params, blockIdx.x / params.num_heads);
    const Sequence sequence = load_sequence(params, tile.sequence);
    if (tile.first_query >= sequence.num_queries) return;
    flash_attention<T, kHeadSize, kCores, Modifier>(params, sequence, tile.first_query, head);
  }
}

}  // namespace bertfast
