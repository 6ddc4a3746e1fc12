// What one warp does with its 16 queries on tensor cores. Of each 16 x 8 result, lane i holds row
// i / 4, elements 0 and 1, and row i / 4 + 8, elements 2 and 3, in columns i % 4 * 2 and the next.
#pragma once

#include "kernels/varlen_attention_shared.cuh"
#include "kernels/varlen_attention_softmax.cuh"

namespace bertfast {

inline constexpr int kWarpQueries = 16;
inline constexpr int kTileColumns = 8;  // of one product
inline constexpr int kRowLanes = 4;     // that share a row of it
inline constexpr int kProductDepth = 16;

template <typename T, int kHeadSize, TensorCores kCores>
class AttentionWarp {
 public:
  // Tiles are named by where they begin in shared memory, in elements. `tile` holds the queries of
  // this warp.
  __device__ __forceinline__ void load_queries(unsigned tile) {
#pragma unroll
    for (int i = 0; i < kHeadSize / kProductDepth; ++i) {
      load_matrices<false>(queries_[i], chunks(tile, lane() % 16, lane() / 16, i));
    }
  }

  // scores = q k^T for kKeys keys.
  template <int kKeys>
  __device__ __forceinline__ void score(unsigned keys, float (*scores)[4]) const {
#pragma unroll
    for (int i = 0; i < kKeys / kTileColumns * 4; ++i) scores[i / 4][i % 4] = 0.0f;
    const unsigned key = lane() / 16 * 8 + lane() % 8, half = lane() / 8 % 2;
#pragma unroll
    for (int i = 0; i < kHeadSize / kProductDepth; ++i) {
#pragma unroll
      for (int j = 0; j < kKeys / 16; ++j) {
        uint32_t fragments[4];
        load_matrices<false>(fragments, chunks(keys, key, half, i) + 16 * j * kHeadSize);
        multiply(scores[2 * j], queries_[i], fragments[0], fragments[1]);
        multiply(scores[2 * j + 1], queries_[i], fragments[2], fragments[3]);
      }
    }
  }

  // scores become weights, and what is already in the output is brought to the same scale. With
  // kIsOnly, nothing is in it yet.
  template <int kKeys, bool kIsOnly>
  __device__ __forceinline__ void weigh(float (*scores)[4], float twice_scale_log2) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float lane_max = -INFINITY;
#pragma unroll
      for (int i = 0; i < kKeys / kTileColumns; ++i) {
        lane_max = fmaxf(lane_max, fmaxf(scores[i][2 * half], scores[i][2 * half + 1]));
      }
      [[maybe_unused]] const float rescale = rows_[half].raise(lane_max, twice_scale_log2);
#pragma unroll
      for (int i = 0; i < kKeys / kTileColumns * 2; ++i) {
        float& score = scores[i / 2][2 * half + i % 2];
        score = rows_[half].weigh(score, twice_scale_log2);
      }
#pragma unroll
      for (int i = 0; i < kHeadSize / kTileColumns * 2; ++i) {
        if constexpr (!kIsOnly) out_[i / 2][2 * half + i % 2] *= rescale;
      }
    }
  }

  // out += weights * v for kKeys keys. The weights are rounded to T, as the tensor cores take them.
  template <int kKeys>
  __device__ __forceinline__ void add_values(const float (*weights)[4], unsigned values) {
#pragma unroll
    for (int i = 0; i < kKeys / kProductDepth; ++i) {
      const float (&left)[4] = weights[2 * i];
      const float (&right)[4] = weights[2 * i + 1];
      const uint32_t packed[4] = {pack_pair<T>(left[0], left[1]), pack_pair<T>(left[2], left[3]),
                                  pack_pair<T>(right[0], right[1]),
                                  pack_pair<T>(right[2], right[3])};
#pragma unroll
      for (int j = 0; j < kHeadSize / 16; ++j) {
        uint32_t fragments[4];
        load_matrices<true>(fragments,
                            chunks(values, lane() % 16, lane() / 16, j) + 16 * i * kHeadSize);
        multiply(out_[2 * j], packed, fragments[0], fragments[1]);
        multiply(out_[2 * j + 1], packed, fragments[2], fragments[3]);
      }
    }
  }

  template <int kKeys, typename Modifier>
  __device__ __forceinline__ static void change(const Modifier& modifier, int first_query,
                                                int first_key, float (*scores)[4]) {
    if (!modifier.changes(first_key, kKeys)) return;
    const int query = first_query + static_cast<int>(lane() / kRowLanes);
    const int key = first_key + static_cast<int>(lane() % kRowLanes * 2);
#pragma unroll
    for (int i = 0; i < kKeys / kTileColumns * 4; ++i) {
      float& score = scores[i / 4][i % 4];
      score = modifier.changed(score, query + i % 4 / 2 * 8, key + i / 4 * kTileColumns + i % 2);
    }
  }

  // Writes the rows of `out` that exist. `place` is room for as many as load_queries reads, which
  // no other warp uses: rows are put together there, to be written 16 bytes at once.
  __device__ __forceinline__ void store_out(unsigned place, T* out, int row_stride, int num_rows) {
    T* tile = shared_memory<T>() + place;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float normalizer = rows_[half].normalizer();
      const unsigned row = lane() / kRowLanes + 8 * half;
#pragma unroll
      for (int i = 0; i < kHeadSize / kTileColumns; ++i) {
        const Vector<float, 2> pair = {out_[i][2 * half] * normalizer,
                                       out_[i][2 * half + 1] * normalizer};
        store(tile + swizzled<kHeadSize>(row, i) + lane() % kRowLanes * 2, from_float<T>(pair));
      }
    }
    sync_warp();
    constexpr unsigned kChunks = kHeadSize / kChunkElements;
#pragma unroll
    for (unsigned i = 0; i < kWarpQueries * kChunks / kWarpSize; ++i) {
      const int row = static_cast<int>(i * (kWarpSize / kChunks) + lane() / kChunks);
      const unsigned chunk = lane() % kChunks;
      if (row >= num_rows) continue;
      store_global(out + row * row_stride + chunk * kChunkElements,
                   load<kChunkElements>(tile + swizzled<kHeadSize>(row, chunk)));
    }
  }

 private:
  // Unsigned, for divisions to be shifts.
  __device__ static unsigned lane() { return threadIdx.x % kWarpSize; }

  // Chunk 2 * i + half of a row. The exclusive or comes last, when the tile is known: an address
  // for each i, kept while tiles go by, would take more registers than there are.
  __device__ __forceinline__ static const T* chunks(unsigned tile, unsigned row, unsigned half,
                                                    unsigned i) {
    return shared_memory<T>() + ((tile + swizzled<kHeadSize>(row, half)) ^ i * 2 * kChunkElements);
  }

  __device__ __forceinline__ static void multiply(float (&sums)[4], const uint32_t (&a)[4],
                                                  uint32_t top, uint32_t bottom) {
    if constexpr (kCores == TensorCores::kTuring) {
      multiply_16x8x8<T>(sums, {a[0], a[1]}, {top});
      multiply_16x8x8<T>(sums, {a[2], a[3]}, {bottom});
    } else {
      multiply_16x8x16<T>(sums, a, {top, bottom});
    }
  }

  uint32_t queries_[kHeadSize / kProductDepth][4];
  float out_[kHeadSize / kTileColumns][4] = {};
  SoftmaxRow<kRowLanes> rows_[2];
};

}  // namespace bertfast
