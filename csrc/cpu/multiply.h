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
  Vector finish(const float* sums) const { return add(_mm512_load_ps(sums), bias_); }
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

// Steps whose part of a panel stays in the first cache while all blocks of rows are multiplied with
// it, beside their sums: 16 KB of a panel.
constexpr int64_t kStepsInCache = 8;

// Blocks whose sums lie in the first cache: rows that are multiplied with a panel at a time.
constexpr int64_t kBlocksAtATime = 8;
using BlockSums = float[kBlockRows * kPanelColumns];

// The sums of some blocks of rows with a panel. next: the panel that is needed after this one.
template <Operand kOperand>
void multiply_blocks(const BlockKernel& kernel, const PackedRows& rows, int64_t first_block,
                     int64_t count, const uint8_t* panel, int64_t steps, const uint8_t* next,
                     BlockSums* sums) {
  const int64_t parts = ceil_div(steps, kStepsInCache), part = ceil_div(steps, parts);
  BlockParams block{};
  block.row_tile_bytes = steps * kTileBytes;
  block.ahead_lines_a_step = ceil_div(kPanelStepBytes / 64, count);
  block.ahead = next;
  for (int64_t step = 0; step < steps; step += part) {
    block.continued = step > 0;
    block.steps = std::min(part, steps - step);
    block.panel = panel + step * kPanelStepBytes;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t row = (first_block + i) * kBlockRows;
      block.rows = rows.tiles + row / kTileRows * block.row_tile_bytes + step * kTileBytes;
      block.two_row_tiles = rows.rows - row > kTileRows;
      block.sums = sums[i];
      kernel.run(block);
      block.ahead += block.steps * block.ahead_lines_a_step * 64;
    }
  }
}

template <Operand kOperand, typename Sink>
void multiply_panels(const DenseWeight& dense, const PackedRows& rows, int64_t begin, int64_t end,
                     const Sink& sink) {
  alignas(64) BlockSums sums[kBlocksAtATime];
  const BlockKernel kernel = block_kernel(kOperand);
  const int64_t steps = k_steps(kOperand, dense.k), panel_bytes = steps * kPanelStepBytes;
  const int64_t blocks = ceil_div(rows.rows, kBlockRows);
  kernel.open();
  for (int64_t panel = begin; panel < end; ++panel) {
    const int64_t column = panel * kPanelColumns;
    const Columns columns[2] = {{dense, column}, {dense, column + kWidth}};
    const uint8_t* at = dense.panels + panel * panel_bytes;
    for (int64_t first = 0; first < blocks; first += kBlocksAtATime) {
      const int64_t count = std::min(kBlocksAtATime, blocks - first);
      multiply_blocks<kOperand>(kernel, rows, first, count, at, steps, at + panel_bytes, sums);
      for (int64_t i = 0; i < count; ++i) {
        finish_block<kOperand>(rows, (first + i) * kBlockRows, columns, column, sums[i], sink);
      }
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
