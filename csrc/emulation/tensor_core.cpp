#include "emulation/tensor_core.h"

#include <cstring>

#include "emulation/float16.h"
#include "emulation/schedule.h"

namespace bertfast::emulation {
namespace {

constexpr int kMatrixRows = 8;
constexpr int kRows = 16, kColumns = 8;  // of the accumulators

MatrixLoad& load_of(void* const* lanes, int lane) { return *static_cast<MatrixLoad*>(lanes[lane]); }

MatrixMultiply& multiply_of(void* const* lanes, int lane) {
  return *static_cast<MatrixMultiply*>(lanes[lane]);
}

uint16_t element(const MatrixLoad& row, int column) {
  uint16_t bits;
  std::memcpy(&bits, row.row + column * sizeof(bits), sizeof(bits));
  return bits;
}

// The rows of one matrix are read at once if they lie in different banks. Lanes that ask for the
// same bytes share the read.
bool has_to_wait(void* const* lanes, int lane) {
  constexpr int kBankGroups = 8;  // of 16 bytes
  const uintptr_t row = load_of(lanes, lane).address / kMatrixRowBytes;
  for (int other = lane - lane % kMatrixRows; other < lane; ++other) {
    const uintptr_t other_row = load_of(lanes, other).address / kMatrixRowBytes;
    if (row != other_row && row % kBankGroups == other_row % kBankGroups) return true;
  }
  return false;
}

template <typename T>
void unpack(uint32_t pair, float* first, float* second) {
  const uint16_t bits[] = {static_cast<uint16_t>(pair), static_cast<uint16_t>(pair >> 16)};
  T values[2];
  std::memcpy(static_cast<void*>(values), bits, sizeof(bits));
  *first = static_cast<float>(values[0]);
  *second = static_cast<float>(values[1]);
}

}  // namespace

void load_matrices(void* const* lanes) {
  const MatrixLoad& common = load_of(lanes, 0);
  for (int matrix = 0; matrix < common.num_matrices; ++matrix) {
    const auto row = [&](int i) -> const MatrixLoad& {
      return load_of(lanes, matrix * kMatrixRows + i);
    };
    for (int lane = 0; lane < kLanes; ++lane) {
      const int line = lane / 4, pair = lane % 4 * 2;
      uint16_t first = element(row(line), pair), second = element(row(line), pair + 1);
      if (common.is_transposed) {
        first = element(row(pair), line);
        second = element(row(pair + 1), line);
      }
      load_of(lanes, lane).fragments[matrix] = first | static_cast<uint32_t>(second) << 16;
    }
  }
  for (int lane = 0; lane < common.num_matrices * kMatrixRows; ++lane) {
    load_of(lanes, lane).num_conflicts = has_to_wait(lanes, lane);
  }
}

// Products are exact in float. The sum is taken in order of depth, each step rounded to the
// nearest; the device's own order is not documented.
template <typename T, int kDepth>
void multiply_matrices(void* const* lanes) {
  float a[kRows][kDepth], b[kDepth][kColumns], sums[kRows][kColumns];
  for (int lane = 0; lane < kLanes; ++lane) {
    const MatrixMultiply& mine = multiply_of(lanes, lane);
    const int group = lane / 4, pair = lane % 4 * 2;
    for (int half = 0; half < kDepth / 8; ++half) {
      const int depth = half * 8 + pair;
      unpack<T>(mine.a[2 * half], &a[group][depth], &a[group][depth + 1]);
      unpack<T>(mine.a[2 * half + 1], &a[group + 8][depth], &a[group + 8][depth + 1]);
      unpack<T>(mine.b[half], &b[depth][group], &b[depth + 1][group]);
    }
    for (int i = 0; i < 4; ++i) sums[group + i / 2 * 8][pair + i % 2] = mine.accumulators[i];
  }
  for (int row = 0; row < kRows; ++row) {
    for (int depth = 0; depth < kDepth; ++depth) {
      for (int column = 0; column < kColumns; ++column) {
        sums[row][column] += a[row][depth] * b[depth][column];
      }
    }
  }
  for (int lane = 0; lane < kLanes; ++lane) {
    float* accumulators = multiply_of(lanes, lane).accumulators;
    const int group = lane / 4, pair = lane % 4 * 2;
    for (int i = 0; i < 4; ++i) accumulators[i] = sums[group + i / 2 * 8][pair + i % 2];
  }
}

template void multiply_matrices<Float16, 8>(void* const* lanes);
template void multiply_matrices<Float16, 16>(void* const* lanes);
template void multiply_matrices<BFloat16, 16>(void* const* lanes);

}  // namespace bertfast::emulation
