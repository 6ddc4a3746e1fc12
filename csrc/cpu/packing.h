// Rows and weights brought into the layout of tiles.h, and into the numbers that are multiplied.
#pragma once

#include <cstdint>

#include "cpu/tiles.h"
#include "kernels/dtype.h"

namespace bertfast::cpu {

// A float32 weight becomes panels of bfloat16.
struct PackBFloat16Params {
  const float* weight;  // [columns, k]
  uint8_t* panels;      // packed_weight_bytes
  int64_t columns;
  int64_t k;
};
void pack_weight_bfloat16(const PackBFloat16Params& params);

// A float32 weight becomes panels of int8, symmetric, with a scale for each column of the result.
struct PackInt8Params {
  const float* weight;  // [columns, k]
  uint8_t* panels;      // packed_weight_bytes
  float* scales;        // [columns]: weight = scale * code
  float* sums;          // [columns]: of weight as its codes give it
  int64_t columns;
  int64_t k;
};
void pack_weight_int8(const PackInt8Params& params);

// Rows to be multiplied next. stride: elements from one row to the next.
struct RowsParams {
  const void* x;  // [rows, k]
  DType dtype;    // kFloat32 or kBFloat16
  int64_t stride;
  int64_t rows;
  int64_t k;
};

// How a row of codes is read: x = scale * (code - zero). NaN for a row with NaN or Inf.
struct RowCode {
  float scale;
  float zero;
};

// Rows begin to end; begin: a multiple of kTileRows. tiles: of row 0.
void pack_rows_bfloat16(const RowsParams& params, int64_t begin, int64_t end, uint8_t* tiles);
void pack_rows_int8(const RowsParams& params, int64_t begin, int64_t end, uint8_t* tiles,
                    RowCode* codes);

}  // namespace bertfast::cpu
