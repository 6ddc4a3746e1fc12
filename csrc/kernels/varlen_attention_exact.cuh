#pragma once

#include "kernels/varlen_attention_exact_tiles.cuh"
#include "kernels/varlen_attention_softmax.cuh"

namespace bertfast {

// What a thread holds of its queries.
template <int kMaxHeadSize>
class ExactThread {
 public:
  using Layout = ExactLayout<kMaxHeadSize>;
  static constexpr int kFloats = Layout::kFloats, kRows = Layout::kRowsPerThread;
  using Floats = Vector<float, kFloats>;

  // The first query, and which of the threads of a row this is.
  __device__ static int row() { return threadIdx.x / Layout::kColumnThreads * kRows; }
  __device__ static int column() { return threadIdx.x % Layout::kColumnThreads; }

  __device__ __forceinline__ void score(const float* queries, const float* keys, int head_size) {
#pragma unroll
    for (int i = 0; i < kRows * kKeys; ++i) scores_[i / kKeys][i % kKeys] = 0.0f;
#pragma unroll 2
    for (int d = 0; d < head_size; d += kFloats) {
      Floats q[kRows], k[kKeys];
#pragma unroll
      for (int i = 0; i < kRows; ++i) q[i] = load<kFloats>(queries + (row() + i) * kStride + d);
#pragma unroll
      for (int j = 0; j < kKeys; ++j) k[j] = load<kFloats>(keys + key(j) * kStride + d);
#pragma unroll
      for (int i = 0; i < kRows * kKeys * kFloats; ++i) {
        const int n = i % kFloats, key_index = i / kFloats % kKeys, query = i / kFloats / kKeys;
        float& score = scores_[query][key_index];
        score = fmaf(q[query][n], k[key_index][n], score);
      }
    }
  }

  // Scores become weights, which the other threads of the row find in `weights`.
  template <typename Modifier>
  __device__ __forceinline__ void weigh(const Modifier& modifier, int first_query, int first_key,
                                        float twice_scale_log2, float* weights) {
    const bool changes = modifier.changes(first_key, Layout::kKeys);
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      float lane_max = -INFINITY;
#pragma unroll
      for (int j = 0; j < kKeys; ++j) {
        float& score = scores_[i][j];
        if (changes) score = modifier.changed(score, first_query + row() + i, first_key + key(j));
        lane_max = fmaxf(lane_max, score);
      }
      const float rescale = softmax_[i].raise(lane_max, twice_scale_log2);
#pragma unroll
      for (int j = 0; j < kKeys; ++j) {
        const float weight = softmax_[i].weigh(scores_[i][j], twice_scale_log2);
        store(weights + (row() + i) * Layout::kWeightStride + key(j), Vector<float, 1>{weight});
      }
#pragma unroll
      for (int j = 0; j < kGroups * kFloats; ++j) out_[i][j / kFloats][j % kFloats] *= rescale;
    }
  }

  // Sums of sums: with one chain of additions over all keys, the error would grow with their
  // number.
  __device__ __forceinline__ void add_values(const float* weights, const float* values) {
    float sums[kRows][kGroups][kFloats] = {};
#pragma unroll 2
    for (int first_key = 0; first_key < Layout::kKeys; first_key += kFloats) {
      Floats w[kRows];
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        w[i] = load<kFloats>(weights + (row() + i) * Layout::kWeightStride + first_key);
      }
#pragma unroll
      for (int n = 0; n < kFloats; ++n) {
#pragma unroll
        for (int j = 0; j < kGroups; ++j) {
          const auto v = load<kFloats>(values + (first_key + n) * kStride + head_column(j));
#pragma unroll
          for (int i = 0; i < kRows * kFloats; ++i) {
            float& sum = sums[i / kFloats][j][i % kFloats];
            sum = fmaf(w[i / kFloats][n], v[i % kFloats], sum);
          }
        }
      }
    }
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
#pragma unroll
      for (int j = 0; j < kGroups * kFloats; ++j) {
        out_[i][j / kFloats][j % kFloats] += sums[i][j / kFloats][j % kFloats];
      }
    }
  }

  // Elements are written one by one (kWidth 1) or by groups of kFloats.
  template <int kWidth, typename T>
  __device__ __forceinline__ void store_out(T* out, int row_stride, int num_rows, int head_size) {
    constexpr int kStored = kWidth == 1 ? 1 : kFloats;
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const float normalizer = softmax_[i].normalizer();  // all lanes take part
      if (row() + i >= num_rows) continue;
#pragma unroll
      for (int j = 0; j < kGroups * kFloats; j += kStored) {
        const int d = head_column(j / kFloats) + j % kFloats;
        if (d >= head_size) continue;
        Vector<float, kStored> part;
#pragma unroll
        for (int n = 0; n < kStored; ++n) {
          part[n] = out_[i][j / kFloats][j % kFloats + n] * normalizer;
        }
        store(out + (row() + i) * row_stride + d, from_float<T>(part));
      }
    }
  }

 private:
  static constexpr int kKeys = Layout::kKeysPerThread, kGroups = Layout::kColumnGroups;
  static constexpr int kStride = Layout::kStride;

  __device__ static int key(int j) { return column() + j * Layout::kColumnThreads; }
  __device__ static int head_column(int j) {
    return (column() + j * Layout::kColumnThreads) * kFloats;
  }

  float scores_[kRows][kKeys];
  float out_[kRows][kGroups][kFloats] = {};
  SoftmaxRow<Layout::kColumnThreads> softmax_[kRows];
};

// While keys are worked on, values are on their way to registers, and the other way round.
template <typename T, int kMaxHeadSize, int kWidth, typename Modifier>
__device__ __forceinline__ void exact_attention(const PackedHead<T>& head, const Sequence& sequence,
                                                int first_query, int head_size,
                                                float twice_scale_log2) {
  using Layout = ExactLayout<kMaxHeadSize>;
  constexpr int kKeys = Layout::kKeys;
  float* queries = shared_memory<float>();
  float* tile = queries + Layout::kQueries * Layout::kStride;
  float* weights = tile + kKeys * Layout::kStride;
  const Modifier modifier(sequence);
  const KeyRange range = modifier.keys(first_query, Layout::kQueries);
  const int num_rows = sequence.num_queries - first_query;

  ExactTileCopy<T, kMaxHeadSize, Layout::kQueries, kWidth, false> query_copy;
  // Single elements would take an address each, and more registers than there are.
  ExactTileCopy<T, kMaxHeadSize, kKeys, kWidth, (kWidth > 1)> copy;
  const auto start = [&](const T* rows, int first_row, int end) {
    copy.start(rows + static_cast<int64_t>(first_row) * head.row_stride, head.row_stride,
               end - first_row, head_size);
  };
  query_copy.start(head.q + static_cast<int64_t>(first_query) * head.row_stride, head.row_stride,
                   num_rows, head_size);
  query_copy.finish(queries);
  start(head.k, range.begin, range.end);

  ExactThread<kMaxHeadSize> thread;
  for (int key = range.begin; key < range.end; key += kKeys) {
    sync_block();  // the values of the step before have been read
    copy.finish(tile);
    start(head.v, key, range.end);
    sync_block();
    thread.score(queries, tile, head_size);
    thread.weigh(modifier, first_query, key, twice_scale_log2, weights);
    sync_block();  // the keys have been read
    copy.finish(tile);
    start(head.k, key + kKeys, range.end);
    sync_block();
    thread.add_values(weights, tile);
  }
  thread.template store_out<kWidth>(head.out(first_query), head.out_stride, num_rows, head_size);
}

// One block for a tile of queries of one head. All heads of a tile follow each other.
template <typename T, int kMaxHeadSize, int kWidth, typename Modifier>
__global__ void __launch_bounds__(ExactLayout<kMaxHeadSize>::kThreads,
                                  ExactLayout<kMaxHeadSize>::kMinBlocks)
    varlen_attention_exact_kernel(VarlenAttentionParams params) {
  const int index = static_cast<int>(blockIdx.x % params.num_heads);
  const QueryTile tile =
      find_query_tile<ExactLayout<kMaxHeadSize>::kQueries>(params, blockIdx.x / params.num_heads);
  const Sequence sequence = load_sequence(params, tile.sequence);
  if (tile.first_query >= sequence.num_queries) return;
  const PackedHead<T> head(params, sequence, index, params.head_size);
  exact_attention<T, kMaxHeadSize, kWidth, Modifier>(head, sequence, tile.first_query,
                                                     params.head_size, twice_log2_scale(params));
}

}  // namespace bertfast
