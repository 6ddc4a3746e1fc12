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
  // As many blocks on a multiprocessor as leave each thread the registers that it needs.
  static constexpr int min_blocks(TensorCores cores) {
    if (cores == TensorCores::kTuring) return 2;
    return kHeadSize <= 32 ? 4 : kHeadSize <= 64 ? 3 : 2;
  }
};

// Keys and values go by in two stages: while one is worked on, the other is filled.
template <typename T, int kHeadSize, TensorCores kCores, typename Modifier>
__device__ __forceinline__ void flash_attention(const PackedHead<T>& head, const Sequence& sequence,
                                                int first_query, float twice_scale_log2) {
  using Layout = FlashLayout<kHeadSize>;
  using TensorWarp = AttentionWarp<T, kHeadSize, kCores>;
  constexpr int kKeys = Layout::kKeys;
  const unsigned thread = threadIdx.x;
  const int warp_row = static_cast<int>(thread / kWarpSize) * kWarpQueries;
  // Where in shared memory the keys of a step lie; its values follow.
  const auto stage = [](int step) { return step % 2 * Layout::kStageElements; };

  const Modifier modifier(sequence);
  const KeyRange range = modifier.keys(first_query, Layout::kQueries);
  const int num_steps = (range.end - range.begin + kKeys - 1) / kKeys;

  TileCopy<T, kHeadSize, kKeys, Layout::kThreads, kCores> key_copy(head.k, head.row_stride, thread);
  TileCopy<T, kHeadSize, kKeys, Layout::kThreads, kCores> value_copy(head.v, head.row_stride,
                                                                     thread);
  const auto start_step = [&](int step) {
    T* keys = shared_memory<T>() + stage(step);
    key_copy.start(keys, range.begin + step * kKeys, range.end);
    value_copy.start(keys + Layout::kTileElements, range.begin + step * kKeys, range.end);
  };

  TensorWarp warp;
  if (num_steps > 0) {
    const int place = stage(1) + warp_row * kHeadSize;
    T* warp_queries = shared_memory<T>() + place;
    TileCopy<T, kHeadSize, kWarpQueries, kWarpSize, kCores> query_copy(head.q, head.row_stride,
                                                                       thread % kWarpSize);
    query_copy.start(warp_queries, first_query + warp_row, sequence.num_queries);
    start_step(0);
    query_copy.template finish<2>(warp_queries);
    sync_warp();
    warp.load_queries(place);
  }

  // Named here, where it takes fewer registers than what it is made of.
  T* out = head.out(first_query + warp_row);
  const int num_rows = sequence.num_queries - first_query - warp_row;
  for (int step = 0; step < num_steps; ++step) {
    const int keys = stage(step), values = keys + Layout::kTileElements;
    key_copy.template finish<0>(shared_memory<T>() + keys);
    value_copy.template finish<0>(shared_memory<T>() + values);
    // Now this step's keys are everybody's, and nobody reads the other stage any more.
    sync_block();
    if (step + 1 < num_steps) start_step(step + 1);
    if (num_rows <= 0) continue;
    float scores[kKeys / kTileColumns][4];
    warp.template score<kKeys>(keys, scores);
    TensorWarp::template change<kKeys>(modifier, first_query + warp_row, range.begin + step * kKeys,
                                       scores);
    warp.template weigh<kKeys, false>(scores, twice_scale_log2);
    warp.template add_values<kKeys>(scores, values);
  }
  if (num_rows <= 0) return;
  // The stage that the last step did not use is free.
  warp.store_out(stage(num_steps) + warp_row * kHeadSize, out, head.out_stride, num_rows);
}

// One block for 64 queries of one head. All heads of a tile of queries follow each other.
template <typename T, int kHeadSize, TensorCores kCores, typename Modifier>
__global__ void __launch_bounds__(FlashLayout<kHeadSize>::kThreads,
                                  FlashLayout<kHeadSize>::min_blocks(kCores))
    varlen_attention_flash_kernel(VarlenAttentionParams params) {
  if constexpr (!is_compiled_for<kCores>()) {
    trap();
  } else {
    const int index = static_cast<int>(blockIdx.x % params.num_heads);
    const QueryTile tile =
        find_query_tile<FlashLayout<kHeadSize>::kQueries>(params, blockIdx.x / params.num_heads);
    const Sequence sequence = load_sequence(params, tile.sequence);
    if (tile.first_query >= sequence.num_queries) return;
    const PackedHead<T> head(params, sequence, index, kHeadSize);
    flash_attention<T, kHeadSize, kCores, Modifier>(head, sequence, tile.first_query,
                                                    twice_log2_scale(params));
  }
}

}  // namespace bertfast
