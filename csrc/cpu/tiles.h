// How the operands of a dense layer lie in memory: in tiles of 16 rows of 64 bytes, as AMX loads
// them, and as rows of 16 broadcast or streamed words for AVX-512.
//
//   rows     [row tile][k step][16 rows][64 bytes]: a row's next 32 bfloat16 or 64 uint8
//   weights  [panel][k step][2][16 words][16 columns][4 bytes]: a panel is 32 columns of the
//   result;
//            a word is 2 bfloat16 or 4 int8 along k
//
// What is missing to whole tiles is zero in k and in columns, and any number in rows.
#pragma once

#include <cstdint>

namespace bertfast::cpu {

enum class Operand { kBFloat16, kInt8 };

constexpr int kTileRows = 16;
constexpr int kTileRowBytes = 64;
constexpr int kTileBytes = kTileRows * kTileRowBytes;
// Two tiles of rows by two of columns: four sums and four operands are all eight tiles of AMX.
constexpr int kBlockRows = 2 * kTileRows;
constexpr int kPanelColumns = 32;
constexpr int kPanelStepBytes = 2 * kTileBytes;

constexpr int k_step(Operand operand) { return operand == Operand::kBFloat16 ? 32 : 64; }
constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t k_steps(Operand operand, int64_t k) { return ceil_div(k, k_step(operand)); }
constexpr int64_t num_panels(int64_t columns) { return ceil_div(columns, kPanelColumns); }

constexpr int64_t packed_rows_bytes(Operand operand, int64_t rows, int64_t k) {
  return ceil_div(rows, kTileRows) * k_steps(operand, k) * kTileBytes;
}
constexpr int64_t packed_weight_bytes(Operand operand, int64_t columns, int64_t k) {
  return num_panels(columns) * k_steps(operand, k) * kPanelStepBytes;
}

// 32 x 32 sums of products, float or int32, of one or two row tiles and a panel, over some steps.
struct BlockParams {
  const uint8_t* rows;     // the first row tile; the second lies row_tile_bytes behind it
  int64_t row_tile_bytes;  // of all steps of a row tile
  bool two_row_tiles;      // else sums of the second are not written
  const uint8_t* panel;    // [steps][2][kTileBytes]
  int64_t steps;
  bool continued;              // sums are added to, not begun
  void* sums;                  // [32][32]
  const uint8_t* ahead;        // memory that is needed soon: it is asked for on the way
  int64_t ahead_lines_a_step;  // of 64 bytes
};

// One way to multiply blocks. open and close are called around all blocks of a thread.
struct BlockKernel {
  void (*open)();
  void (*run)(const BlockParams& params);
  void (*close)();
};

// The fastest that this CPU has; its `run` is null where there is none.
BlockKernel block_kernel(Operand operand);

extern const BlockKernel kAmxBFloat16Block;
extern const BlockKernel kAmxInt8Block;
extern const BlockKernel kBFloat16Block;
extern const BlockKernel kVnniBlock;

}  // namespace bertfast::cpu
