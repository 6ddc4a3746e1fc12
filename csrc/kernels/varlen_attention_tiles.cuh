// Which queries of which sequence a block works on.
#pragma once

#include "kernels/intrinsics.cuh"
#include "kernels/intrinsics_bits.cuh"
#include "kernels/varlen_attention.h"

namespace bertfast {

struct Sequence {
  int64_t first_row;
  int num_queries;
  int num_keys;
};

__device__ __forceinline__ int clamp(int value, int low, int high) {
  return value < low ? low : value > high ? high : value;
}

// Whatever the arrays hold, its rows are among the num_tokens, and its keys are some of them.
template <typename Params>
__device__ __forceinline__ Sequence load_sequence(const Params& params, int index) {
  const int num_tokens = static_cast<int>(params.num_tokens);
  const int first_row = clamp(load<1>(params.cu_seqlens + index)[0], 0, num_tokens);
  const int end = clamp(load<1>(params.cu_seqlens + index + 1)[0], first_row, num_tokens);
  const int num_rows = end - first_row;
  if (params.key_lengths == nullptr) return {first_row, num_rows, num_rows};
  return {first_row, num_rows, clamp(load<1>(params.key_lengths + index)[0], 0, num_rows)};
}

// One head of one sequence. Offsets of rows have 64 bits; strides, and offsets within a tile, 32.
template <typename T>
struct PackedHead {
  const T* q;
  const T* k;
  const T* v;
  int row_stride;  // of q, k and v
  int out_stride;

  __device__ __forceinline__ PackedHead(const VarlenAttentionParams& params,
                                        const Sequence& sequence, int head, int head_size)
      : row_stride(3 * params.num_heads * head_size),
        out_stride(params.num_heads * head_size),
        params_(params),
        first_row_(sequence.first_row),
        column_(head * head_size) {
    q = static_cast<const T*>(params.qkv) + first_row_ * row_stride + column_;
    k = q + out_stride;
    v = k + out_stride;
  }

  // Not a member like the others: until it is needed, it would take registers.
  __device__ __forceinline__ T* out(int row) const {
    return static_cast<T*>(params_.out) + (first_row_ + row) * out_stride + column_;
  }

 private:
  const VarlenAttentionParams& params_;
  int64_t first_row_;
  int column_;
};

// A tile is kRows queries of one sequence. Sequence b owns the tiles from cu_seqlens[b] / kRows + b
// on: always enough for it, and at most one too many. So the number of tiles follows from T and B,
// which the host knows, and no block looks for work that the longest sequence would have had. How
// many are needed follows from the lengths, which are on the device; the tiles of rows after the
// last sequence are not. Blocks start in the order of the sequences: where the longest are packed
// first, no long one is left for the end.
template <int kRows>
__host__ __device__ constexpr int64_t first_tile(int64_t first_row, int64_t index) {
  return first_row / kRows + index;
}

inline constexpr int kNoQuery = 0x7fffffff;  // no sequence has so many rows

struct QueryTile {
  int sequence;
  int first_query;  // in the sequence; beyond its end if the tile is the one too many
};

// The last sequence whose first tile is not beyond `tile`. All lanes of a warp look at once: one
// round of loads for 32 sequences, two for 1024, where a binary search would wait for five and ten.
template <int kRows>
__device__ __forceinline__ QueryTile find_query_tile(const VarlenAttentionParams& params,
                                                     int64_t tile) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  int first = 0;
  for (int count = params.num_sequences; count > 0;) {
    const int step = (count + kWarpSize - 1) / kWarpSize;
    const int index = first + lane * step;
    bool is_reached = lane == 0;  // which it is, unless the offsets are no offsets
    if (lane > 0 && lane * step < count) {
      is_reached = first_tile<kRows>(load<1>(params.cu_seqlens + index)[0], index) <= tile;
    }
    const int last_reached = count_bits(ballot(is_reached)) - 1;
    first += last_reached * step;
    const int rest = count - last_reached * step;
    count = step == 1 ? 0 : rest < step ? rest : step;
  }
  const int64_t found_tile = first_tile<kRows>(load<1>(params.cu_seqlens + first)[0], first);
  const int64_t first_query = (tile - found_tile) * kRows;
  const bool is_possible = first_query >= 0 && first_query < kNoQuery;
  return {first, is_possible ? static_cast<int>(first_query) : kNoQuery};
}

}  // namespace bertfast
