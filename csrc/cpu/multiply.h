// Products of packed rows and a packed weight, block by block; each block is finished while its
// sums are in the first cache.
#pragma once

#include <algorithm>

#include "cpu/dense.h"
#include "cpu/parallel.h"
#include "cpu/tiles.h"
#include "cpu/vector.h"

namespace bertfast::cpu {
namespace {

// Rows in tiles; codes: int8 only.
struct PackedRows {
  const uint8_t* tiles;
  const RowCode* codes;
  int64_t rows;
};

// What brings 16 sums to y: the bias, and for int8 the scales and what the zero of a row adds.
class Columns {
 public:
  Columns(const DenseWeight& dense, int64_t column)
      : mask_(column < dense.columns ? first(dense.columns - column) : Mask{0}),
        bias_(load(dense.bias + column, mask_)) {
    if (dense.operand == Operand::kInt8) {
      scale_ = load(dense.scales + column, mask_);
      sum_ = load(dense.sums + column, mask_);
    }
  }

  Mask mask() const { return mask_; }
  Vector finish(const float* sums) const { return _mm512_add_ps(_mm512_load_ps(sums), bias_); }
  Vector finish(const int32_t* sums, RowCode code) const {
    const Vector products = multiply(_mm512_cvtepi32_ps(_mm512_load_si512(sums)), scale_);
    const Vector shifted = _mm512_fnmadd_ps(broadcast(code.zero), sum_, products);
    return multiply_add(shifted, broadcast(code.scale), bias_);
  }

 private:
  Mask mask_;
  Vector bias_, scale_, sum_;
};

// Calls sink(row, column, y, mask) for each 16 results of a block.
template <Operand kOperand, typename Sink>
void finish_block(const PackedRows& rows, int64_t first_row, const Columns (&columns)[2],
                  int64_t first_column, const void* sums, const Sink& sink) {
  const int64_t count = std::min<int64_t>(kBlockRows, rows.rows - first_row);
  for (int64_t row = 0; row < count; ++row) {
    for (int half = 0; half < 2; ++half) {
      const int64_t place = row * kPanelColumns + half * kWidth;
      const Vector y = kOperand == Operand::kInt8
                           ? columns[half].finish(static_cast<const int32_t*>(sums) + place,
                                                  rows.codes[first_row + row])
                           : columns[half].finish(static_cast<const float*>(sums) + place);
      sink(first_row + row, first_column + half * kWidth, y, columns[half].mask());
    }
  }
}

template <Operand kOperand, typename Sink>
void multiply_panels(const DenseWeight& dense, const PackedRows& rows, int64_t begin, int64_t end,
                     const Sink& sink) {
  alignas(64) float sums[kBlockRows * kPanelColumns];
  const BlockKernel kernel = block_kernel(kOperand);
  const int64_t steps = k_steps(kOperand, dense.k), panel_bytes = steps * kPanelStepBytes;
  const int64_t blocks = ceil_div(rows.rows, kBlockRows);
  const int64_t ahead_bytes = ceil_div(panel_bytes, blocks * 64) * 64;
  BlockParams block{};
  block.row_tile_bytes = steps * kTileBytes;
  block.k_steps = steps;
  block.sums = sums;
  kernel.open();
  for (int64_t panel = begin; panel < end; ++panel) {
    const int64_t column = panel * kPanelColumns;
    const Columns columns[2] = {{dense, column}, {dense, column + kWidth}};
    block.panel = dense.panels + panel * panel_bytes;
    // The next panel is asked for in as many parts as there are blocks.
    const uint8_t* next = block.panel + panel_bytes;
    for (int64_t i = 0; i < blocks; ++i) {
      block.rows = rows.tiles + i * 2 * block.row_tile_bytes;
      block.two_row_tiles = rows.rows - i * kBlockRows > kTileRows;
      block.ahead = next + i * ahead_bytes;
      block.ahead_bytes = std::min(ahead_bytes, panel_bytes - i * ahead_bytes);
      kernel.run(block);
      finish_block<kOperand>(rows, i * kBlockRows, columns, column, sums, sink);
    }
  }
  kernel.close();
}

// Fewer panels are done before another thread has woken up.
constexpr int64_t kGrainPanels = 4;

template <Operand kOperand, typename Sink>
void multiply(const DenseWeight& dense, const PackedRows& rows, const Sink& sink) {
  parallel_for(0, num_panels(dense.columns), kGrainPanels, [&](int64_t begin, int64_t end) {
    multiply_panels<kOperand>(dense, rows, begin, end, sink);
  });
}

}  // namespace
}  // namespace bertfast::cpu
