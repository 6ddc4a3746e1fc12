// What the lanes of a warp do together with ldmatrix and mma.sync. Fragments are as the PTX ISA
// lays them out (chapters "ldmatrix" and "Matrix Fragments for mma.m16n8k8/m16n8k16").
#pragma once

#include <cstdint>

namespace bertfast::emulation {

inline constexpr int kMatrixRowBytes = 16;

// One lane's part in loading `num_matrices` matrices of 8 x 8 elements of 16 bits. Lane i brings
// row i % 8 of matrix i / 8, already read; lanes beyond the last matrix bring nothing.
struct MatrixLoad {
  unsigned char row[kMatrixRowBytes];
  uintptr_t address;  // the row was read from
  int num_matrices;
  bool is_transposed;
  uint32_t* fragments;  // [num_matrices]
  int num_conflicts;    // out: 1 if this row had to wait for another in the same banks
};

// One lane's part in accumulators += a * b.
struct MatrixMultiply {
  float* accumulators;  // [4], of 16 x 8
  const uint32_t* a;    // [2 * depth / 8], of 16 x depth, row-major
  const uint32_t* b;    // [depth / 8], of depth x 8, column-major
};

// Given the 32 lanes' parts.
void load_matrices(void* const* lanes);
template <typename T, int kDepth>
void multiply_matrices(void* const* lanes);

}  // namespace bertfast::emulation
