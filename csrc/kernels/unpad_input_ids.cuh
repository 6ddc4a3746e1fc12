// The ids of a padded batch, compared with the rows of their tables. Part of unpad_input.
#pragma once

#include "kernels/intrinsics.cuh"
#include "kernels/intrinsics_bits.cuh"
#include "kernels/unpad_input.h"

namespace bertfast {

inline constexpr int kUnpadThreads = 128;
inline constexpr int kUnpadWarps = kUnpadThreads / kWarpSize;
// Loads that a thread has in flight: a long row is waited for few times.
inline constexpr int kUnpadItems = 8;
inline constexpr int kUnpadTile = kUnpadThreads * kUnpadItems;

// Unsigned, so that the end of the last tile is a number, too.
__device__ __forceinline__ unsigned tile_column(unsigned first_column, int item) {
  return first_column + item * kUnpadThreads + threadIdx.x;
}

// `bit` if one of the thread's ids in a tile of columns lies outside of a table of num_rows.
template <typename Id>
__device__ __forceinline__ uint32_t check_ids(const void* ids, int64_t num_rows, uint32_t bit,
                                              int64_t row_start, unsigned first_column,
                                              unsigned padded_len) {
  if (ids == nullptr) return 0;
  const Id* row_ids = static_cast<const Id*>(ids) + row_start;
  bool is_outside = false;
#pragma unroll
  for (int i = 0; i < kUnpadItems; ++i) {
    const unsigned column = tile_column(first_column, i);
    if (column >= padded_len) continue;
    const int64_t id = load<1>(row_ids + column)[0];
    is_outside = is_outside || id < 0 || id >= num_rows;
  }
  return is_outside ? bit : 0;
}

template <typename Id>
__device__ __forceinline__ uint32_t check_tile(const UnpadInputParams& params, int row,
                                               unsigned first_column) {
  const int64_t row_start = static_cast<int64_t>(row) * params.padded_len;
  const auto check = [&](const void* ids, int64_t num_rows, uint32_t bit) {
    return check_ids<Id>(ids, num_rows, bit, row_start, first_column, params.padded_len);
  };
  return check(params.input_ids, params.num_words, kWordIdOutOfRange) |
         check(params.token_type_ids, params.num_token_types, kTokenTypeIdOutOfRange) |
         check(params.position_ids, params.num_positions, kPositionIdOutOfRange);
}

// The bits of id_range.h that any lane of the warp has.
__device__ __forceinline__ uint32_t bits_of_warp(uint32_t bits) {
  uint32_t all = 0;
#pragma unroll
  for (uint32_t bit = kWordIdOutOfRange; bit <= kPositionIdOutOfRange; bit *= 2) {
    if (ballot((bits & bit) != 0) != 0) all |= bit;
  }
  return all;
}

}  // namespace bertfast
