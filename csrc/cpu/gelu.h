// GELU of 16 floats, both formulas, from a table: gelu(x) = max(x, 0) - h(|x|), where h rises from
// zero and falls back to it. Absolute errors (tests): below 1e-6 in pieces of degree three, for
// what is rounded afterwards; of degree five, nowhere above
// the largest of PyTorch's.
#pragma once

#include <cmath>

#include "cpu/vector.h"

namespace bertfast::cpu {

enum class Activation { kErf, kTanh, kRelu };

// h on [0, kGeluEnd) in kGeluPieces pieces.
constexpr int kGeluPieces = 32;
constexpr float kGeluEnd = 6.0f;
constexpr int kRoughDegree = 3;
constexpr int kExactDegree = 5;

// Of each piece the coefficients, of powers of the part of the piece's length.
template <int kDegree>
struct GeluTable {
  float coefficients[kDegree + 1][kGeluPieces];
};

// activation: kErf or kTanh. kDegree: kRoughDegree or kExactDegree.
template <int kDegree>
const GeluTable<kDegree>& gelu_table(Activation activation);

namespace {

// The table in registers.
template <int kDegree>
class Gelu {
 public:
  explicit Gelu(Activation activation)
      : largest_kept_(activation == Activation::kErf ? broadcast(INFINITY) : zeros()) {
    const GeluTable<kDegree>& table = gelu_table<kDegree>(activation);
    for (int power = 0; power <= kDegree; ++power) {
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
    Vector h = coefficient(kDegree, piece);
    for (int power = kDegree - 1; power >= 0; --power) {
      h = multiply_add(h, part, coefficient(power, piece));
    }
    const Vector infinite = _mm512_min_ps(x, largest_kept_);
    return multiply_add(infinite, zeros(), _mm512_sub_ps(_mm512_max_ps(zeros(), x), h));
  }

 private:
  Vector coefficient(int power, __m512i piece) const {
    return _mm512_permutex2var_ps(low_[power], piece, high_[power]);
  }

  Vector low_[kDegree + 1], high_[kDegree + 1];
  // Minus infinity becomes NaN, as x * (1 + erf(x)) does; plus infinity with erf only, in PyTorch.
  Vector largest_kept_;
};

struct Relu {
  Vector operator()(Vector x) const { return _mm512_max_ps(zeros(), x); }
};

// Calls use(activate), where activate is the function of 16 floats.
template <int kDegree, typename Use>
void with_activation(Activation activation, const Use& use) {
  if (activation == Activation::kRelu) return use(Relu{});
  use(Gelu<kDegree>(activation));
}

}  // namespace
}  // namespace bertfast::cpu
