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

// The polynomial of degree three through four points of the piece, those of Chebyshev, by divided
// differences; then multiplied out.
template <typename Function>
void fit_piece(const Function& h, int piece, GeluTable& table) {
  double points[4], differences[4];
  for (int i = 0; i < 4; ++i) {
    points[i] = 0.5 - 0.5 * std::cos((2 * i + 1) * kPi / 8);
    differences[i] = h((piece + points[i]) * kGeluEnd / kGeluPieces);
  }
  for (int order = 1; order < 4; ++order) {
    for (int i = 3; i >= order; --i) {
      differences[i] = (differences[i] - differences[i - 1]) / (points[i] - points[i - order]);
    }
  }
  double coefficients[4] = {differences[3], 0, 0, 0};
  for (int i = 2; i >= 0; --i) {
    for (int power = 3; power > 0; --power) {
      coefficients[power] = coefficients[power - 1] - points[i] * coefficients[power];
    }
    coefficients[0] = differences[i] - points[i] * coefficients[0];
  }
  for (int power = 0; power < 4; ++power) {
    table.coefficients[power][piece] = static_cast<float>(coefficients[power]);
  }
}

template <typename Function>
GeluTable make_table(const Function& h) {
  GeluTable table;
  for (int piece = 0; piece < kGeluPieces; ++piece) fit_piece(h, piece, table);
  return table;
}

}  // namespace

const GeluTable& gelu_table(Activation activation) {
  static const GeluTable erf = make_table(erf_h), tanh = make_table(tanh_h);
  return activation == Activation::kErf ? erf : tanh;
}

}  // namespace bertfast::cpu
