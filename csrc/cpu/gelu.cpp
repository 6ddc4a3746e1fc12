#include "cpu/gelu.h"

#include <cmath>

namespace bertfast::cpu {
namespace {

constexpr double kPi = 3.14159265358979323846;

double erf_h(double t) { return 0.5 * t * std::erfc(t / std::sqrt(2.0)); }

// 1 - tanh(z) = 2 / (1 + exp(2 z)), which keeps its digits where tanh is almost one.
double tanh_h(double t) {
  const double z = std::sqrt(2.0 / kPi) * (t + 0.044715 * t * t * t);
  return t / (1.0 + std::exp(2.0 * z));
}

// Where the polynomial of a piece meets h: points of Chebyshev, but zero itself in the first piece,
// so that gelu(0) = 0.
double point_of(int i, int count, int piece) {
  if (piece == 0 && i == 0) return 0;
  return 0.5 - 0.5 * std::cos((2 * i + 1) * kPi / (2 * count));
}

// By divided differences, then multiplied out.
template <int kDegree, typename Function>
void fit_piece(const Function& h, int piece, GeluTable<kDegree>& table) {
  double points[kDegree + 1], differences[kDegree + 1];
  for (int i = 0; i <= kDegree; ++i) {
    points[i] = point_of(i, kDegree + 1, piece);
    differences[i] = h((piece + points[i]) * kGeluEnd / kGeluPieces);
  }
  for (int order = 1; order <= kDegree; ++order) {
    for (int i = kDegree; i >= order; --i) {
      differences[i] = (differences[i] - differences[i - 1]) / (points[i] - points[i - order]);
    }
  }
  double coefficients[kDegree + 1] = {differences[kDegree]};
  for (int i = kDegree - 1; i >= 0; --i) {
    for (int power = kDegree; power > 0; --power) {
      coefficients[power] = coefficients[power - 1] - points[i] * coefficients[power];
    }
    coefficients[0] = differences[i] - points[i] * coefficients[0];
  }
  for (int power = 0; power <= kDegree; ++power) {
    table.coefficients[power][piece] = static_cast<float>(coefficients[power]);
  }
}

template <int kDegree, typename Function>
GeluTable<kDegree> make_table(const Function& h) {
  GeluTable<kDegree> table;
  for (int piece = 0; piece < kGeluPieces; ++piece) fit_piece<kDegree>(h, piece, table);
  return table;
}

}  // namespace

template <int kDegree>
const GeluTable<kDegree>& gelu_table(Activation activation) {
  static const GeluTable<kDegree> erf = make_table<kDegree>(erf_h);
  static const GeluTable<kDegree> tanh = make_table<kDegree>(tanh_h);
  return activation == Activation::kErf ? erf : tanh;
}

template const GeluTable<kRoughDegree>& gelu_table(Activation activation);
template const GeluTable<kExactDegree>& gelu_table(Activation activation);

}  // namespace bertfast::cpu
