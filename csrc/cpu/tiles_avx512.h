// Blocks without AMX: a word of a row is broadcast and multiplied with 16 columns at a time. To be
// included by the files that have the instruction; see tiles.h for the layout.
#pragma once

#include <immintrin.h>

#include "cpu/tiles.h"

namespace bertfast::cpu {
namespace {

// Rows at a time: their sums, two registers each, and the operands fit the 32 registers.
constexpr int kRowsAtATime = 8;

// Dot adds the products of 16 words to 16 sums; Sum is their register.
template <typename Dot>
void run_rows(const BlockParams& params, int first_row) {
  using Sum = typename Dot::Sum;
  Sum sums[kRowsAtATime][2] = {};
  Sum* out = static_cast<Sum*>(params.sums) + 2 * first_row;
  if (params.continued) {
    for (int row = 0; row < kRowsAtATime; ++row) {
      sums[row][0] = out[2 * row];
      sums[row][1] = out[2 * row + 1];
    }
  }
  const uint8_t* rows = params.rows + first_row / kTileRows * params.row_tile_bytes +
                        first_row % kTileRows * kTileRowBytes;
  const uint8_t* panel = params.panel;
  for (int64_t step = 0; step < params.steps; ++step) {
    for (int word = 0; word < kTileRows; ++word) {
      const __m512i left = _mm512_load_si512(panel + word * 64);
      const __m512i right = _mm512_load_si512(panel + kTileBytes + word * 64);
      for (int row = 0; row < kRowsAtATime; ++row) {
        const __m512i value =
            _mm512_set1_epi32(reinterpret_cast<const int32_t*>(rows + row * kTileRowBytes)[word]);
        sums[row][0] = Dot::add(sums[row][0], value, left);
        sums[row][1] = Dot::add(sums[row][1], value, right);
      }
    }
    rows += kTileBytes;
    panel += kPanelStepBytes;
  }
  for (int row = 0; row < kRowsAtATime; ++row) {
    out[2 * row] = sums[row][0];
    out[2 * row + 1] = sums[row][1];
  }
}

template <typename Dot>
void run(const BlockParams& params) {
  const int rows = params.two_row_tiles ? kBlockRows : kTileRows;
  for (int row = 0; row < rows; row += kRowsAtATime) run_rows<Dot>(params, row);
}

void nothing() {}

}  // namespace
}  // namespace bertfast::cpu
