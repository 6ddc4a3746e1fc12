// Rows of activations into tiles: what both kinds of operands share. See packing.h.
#pragma once

#include <algorithm>

#include "cpu/packing.h"
#include "cpu/vector.h"

namespace bertfast::cpu {
namespace {

// Where a row's bytes of step 0 lie.
inline uint8_t* tile_row(uint8_t* tiles, int64_t row, int64_t steps) {
  return tiles + row / kTileRows * steps * kTileBytes + row % kTileRows * kTileRowBytes;
}

// The elements of a row from `column` on, zero from `k` on.
template <typename T>
Vector load_or_zero(const T* row, int64_t column, int64_t k) {
  return column < k ? load(row + column, first(k - column)) : zeros();
}

}  // namespace
}  // namespace bertfast::cpu
