#pragma once

#include "kernels/intrinsics.cuh"
#include "kernels/intrinsics_bits.cuh"
#include "kernels/unpad_input.h"
#include "kernels/unpad_input_ids.cuh"

namespace bertfast {

inline constexpr int kUnpadSlots = kUnpadWarps * kUnpadItems;

struct UnpadTask {
  UnpadInputParams params;
  MaskTest mask;
};

// What a warp makes of its part of a tile of columns: bit i of word k is lane i's item k. A column
// in neither is not computed, or beyond the end of the row.
struct TileVotes {
  uint32_t keys[kUnpadItems];
  uint32_t queries[kUnpadItems];  // that are no keys
};

struct RowCounts {
  int keys;
  int queries;
};

template <typename Mask, typename Id>
__device__ __forceinline__ TileVotes vote_on_tile(const UnpadTask& task, int row,
                                                  unsigned first_column) {
  const UnpadInputParams& params = task.params;
  const int64_t row_start = static_cast<int64_t>(row) * params.padded_len;
  const Mask* mask = static_cast<const Mask*>(params.attention_mask) + row_start;
  const Id* ids = static_cast<const Id*>(params.input_ids);
  const bool drops_padding = ids != nullptr && params.has_pad_token;
  const unsigned padded_len = params.padded_len;
  Mask bits[kUnpadItems] = {};
  bool is_computed[kUnpadItems];
#pragma unroll
  for (int i = 0; i < kUnpadItems; ++i) {
    const unsigned column = tile_column(first_column, i);
    is_computed[i] = column < padded_len;
    if (is_computed[i]) bits[i] = load<1>(mask + column)[0];
    if (is_computed[i] && column > 0 && drops_padding) {
      is_computed[i] = load<1>(ids + row_start + column)[0] != params.pad_token_id;
    }
  }
  TileVotes votes;
#pragma unroll
  for (int i = 0; i < kUnpadItems; ++i) {
    const uint64_t kept = bits[i] & task.mask.kept_bits;
    const bool is_key = kept >= task.mask.first && kept <= task.mask.last;
    votes.keys[i] = ballot(is_key);
    votes.queries[i] = ballot(is_computed[i] && !is_key);
  }
  return votes;
}

struct RowSummary {
  RowCounts counts;
  uint32_t out_of_range;
  uint32_t unused;  // so that it is stored at once
};

// Counts the keys and the computed positions of one row of the batch, and looks at its ids.
template <typename Mask, typename Id>
__global__ void __launch_bounds__(kUnpadThreads) count_positions_kernel(UnpadTask task) {
  const int row = static_cast<int>(blockIdx.x);
  RowCounts counts = {};
  uint32_t out_of_range = 0;
  const unsigned padded_len = task.params.padded_len;
  for (unsigned first = 0; first < padded_len; first += kUnpadTile) {
    const TileVotes votes = vote_on_tile<Mask, Id>(task, row, first);
#pragma unroll
    for (int i = 0; i < kUnpadItems; ++i) {
      counts.keys += count_bits(votes.keys[i]);
      counts.queries += count_bits(votes.queries[i]);
    }
    out_of_range |= check_tile<Id>(task.params, row, first);
  }
  out_of_range = bits_of_warp(out_of_range);
  RowSummary* slots = shared_memory<RowSummary>();
  const int warp = threadIdx.x / kWarpSize;
  if (threadIdx.x % kWarpSize == 0) {
    store(slots + warp, Vector<RowSummary, 1>{{counts, out_of_range, 0}});
  }
  sync_block();
  if (threadIdx.x != 0) return;
  RowCounts sums = {};
#pragma unroll
  for (int i = 0; i < kUnpadWarps; ++i) {
    const RowSummary part = load<1>(slots + i)[0];
    sums = {sums.keys + part.counts.keys, sums.queries + part.counts.queries};
    out_of_range |= part.out_of_range;
  }
  store(task.params.key_lengths + row, Vector<int32_t, 1>{sums.keys});
  // A length, until scan_lengths_kernel makes an offset of it.
  store(task.params.cu_seqlens + row + 1, Vector<int32_t, 1>{sums.keys + sums.queries});
  // Bits, until scan_lengths_kernel has gathered them and place_positions_kernel knows the row.
  store(task.params.first_rows + row, Vector<int64_t, 1>{out_of_range});
}

// Where the items of a thread stand among the keys and queries of the row: how many come before
// the warp's part of each item. `total` goes on from tile to tile.
__device__ __forceinline__ void count_before(const TileVotes& votes, RowCounts* slots,
                                             RowCounts (&before)[kUnpadItems], RowCounts& total) {
  const int warp = threadIdx.x / kWarpSize;
  if (threadIdx.x % kWarpSize == 0) {
#pragma unroll
    for (int i = 0; i < kUnpadItems; ++i) {
      const RowCounts counts = {count_bits(votes.keys[i]), count_bits(votes.queries[i])};
      store(slots + i * kUnpadWarps + warp, Vector<RowCounts, 1>{counts});
    }
  }
  sync_block();
#pragma unroll
  for (int slot = 0; slot < kUnpadSlots; ++slot) {
    if (slot % kUnpadWarps == warp) before[slot / kUnpadWarps] = total;
    const RowCounts counts = load<1>(slots + slot)[0];
    total = {total.keys + counts.keys, total.queries + counts.queries};
  }
}

// Gives every position of one row of the batch its place among the indices.
template <typename Mask, typename Id>
__global__ void __launch_bounds__(kUnpadThreads) place_positions_kernel(UnpadTask task) {
  const UnpadInputParams& params = task.params;
  const int row = static_cast<int>(blockIdx.x);
  const int64_t row_start = static_cast<int64_t>(row) * params.padded_len;
  const int64_t first_key = load<1>(params.cu_seqlens + row)[0];
  const int64_t first_query = first_key + load<1>(params.key_lengths + row)[0];
  const int64_t num_tokens = load<1>(params.cu_seqlens + params.batch_size)[0];
  // Of the positions before this row, first_key are computed.
  const int64_t first_dropped = num_tokens + row_start - first_key;

  const uint32_t lanes_before = (uint32_t{1} << threadIdx.x % kWarpSize) - 1;
  RowCounts* slots = shared_memory<RowCounts>();
  RowCounts before[kUnpadItems], total = {};
  const unsigned padded_len = params.padded_len;
  int parity = 0;  // Slots take turns, so that one barrier a tile is enough.
  for (unsigned first = 0; first < padded_len; first += kUnpadTile, parity ^= 1) {
    const TileVotes votes = vote_on_tile<Mask, Id>(task, row, first);
    count_before(votes, slots + parity * kUnpadSlots, before, total);
#pragma unroll
    for (int i = 0; i < kUnpadItems; ++i) {
      const unsigned column = tile_column(first, i);
      if (column >= padded_len) break;
      const uint32_t own_bit = lanes_before + 1;
      const int keys = before[i].keys + count_bits(votes.keys[i] & lanes_before);
      const int queries = before[i].queries + count_bits(votes.queries[i] & lanes_before);
      int64_t place = first_dropped + column - keys - queries;
      if (votes.queries[i] & own_bit) place = first_query + queries;
      if (votes.keys[i] & own_bit) place = first_key + keys;
      store(params.indices + place, Vector<int64_t, 1>{row_start + column});
      if (column == 0) store(params.first_rows + row, Vector<int64_t, 1>{place});
    }
  }
}

}  // namespace bertfast
