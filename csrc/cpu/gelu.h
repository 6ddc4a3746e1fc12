// GELU of 16 floats, both formulas, from a table: gelu(x) = max(x, 0) - h(|x|), where h falls from
// its hump to zero. Pieces of degree three; the absolute error is below 1e-6 (tests).
#pragma once

#include "cpu/vector.h"

namespace bertfast::cpu {

enum class Activation { kErf, kTanh, kRelu };

// h on [0, kGeluEnd) in kGeluPieces pieces: of each piece four coefficients, of powers of the part
// of the piece's length.
constexpr int kGeluPieces = 32;
constexpr float kGeluEnd = 6.0f;

struct GeluTable {
  float coefficients[4][kGeluPieces];
};

// activation: kErf or kTanh.
const GeluTable& gelu_table(Activation activation);

namespace {

// The table in registers.
class Gelu {
 public:
  explicit Gelu(const GeluTable& table) {
    for (int power = 0; power < 4; ++power) {
      low_[power] = _mm512_loadu_ps(table.coefficients[power]);
      high_[power] = _mm512_loadu_ps(table.coefficients[power] + kWidth);
    }
  }

  Vector operator()(Vector x) const {
    const Vector scale = broadcast(kGeluPieces / kGeluEnd);
    const Vector last = broadcast(kGeluPieces - 1e-3f);
    // The second operand where one is NaN: it is found again in max(0, x).
    const Vector position = _mm512_min_ps(multiply(_mm512_abs_ps(x), scale), last);
    const __m512i piece = _mm512_cvttps_epi32(position);
    const Vector part = _mm512_sub_ps(position, _mm512_cvtepi32_ps(piece));
    Vector h = coefficient(3, piece);
    h = multiply_add(h, part, coefficient(2, piece));
    h = multiply_add(h, part, coefficient(1, piece));
    h = multiply_add(h, part, coefficient(0, piece));
    return _mm512_sub_ps(_mm512_max_ps(zeros(), x), h);
  }

 private:
  Vector coefficient(int power, __m512i piece) const {
    return _mm512_permutex2var_ps(low_[power], piece, high_[power]);
  }

  Vector low_[4], high_[4];
};

}  // namespace
}  // namespace bertfast::cpu
