// LayerNorm of one row that lies in the first cache.
#pragma once

#include <cmath>
#include <cstdint>

#include "cpu/vector.h"

namespace bertfast::cpu {

struct NormWeight {
  const float* weight;  // [H]
  const float* bias;    // [H]
  float eps;
};

namespace {

// Independent sums: an addition waits for the one before it.
constexpr int kSums = 4;

float total(const Vector (&sums)[kSums]) {
  return horizontal_sum(add(add(sums[0], sums[1]), add(sums[2], sums[3])));
}

// Calls step(column, mask, sum) for all columns of a row, 16 at a time.
template <typename Step>
float sum_over_row(int64_t hidden_size, const Step& step) {
  Vector sums[kSums] = {zeros(), zeros(), zeros(), zeros()};
  int64_t column = 0;
  for (; column + kSums * kWidth <= hidden_size; column += kSums * kWidth) {
    for (int i = 0; i < kSums; ++i) sums[i] = step(column + i * kWidth, kAll, sums[i]);
  }
  for (; column < hidden_size; column += kWidth) {
    sums[0] = step(column, first(hidden_size - column), sums[0]);
  }
  return total(sums);
}

// values, whose sum is known, becomes its LayerNorm. The variance is summed from differences to the
// mean: E[x^2] - mean^2 loses every digit where the mean is large.
inline void normalize_row(float* values, float sum, const NormWeight& norm, int64_t hidden_size) {
  const Vector mean = broadcast(sum / static_cast<float>(hidden_size));
  const float squares = sum_over_row(hidden_size, [&](int64_t column, Mask mask, Vector so_far) {
    const Vector difference = subtract(load(values + column, mask), mean, mask);
    return multiply_add(difference, difference, so_far);
  });
  const float variance = squares / static_cast<float>(hidden_size);
  const Vector scale = broadcast(1.0f / std::sqrt(variance + norm.eps));
  for (int64_t column = 0; column < hidden_size; column += kWidth) {
    const Mask mask = first(hidden_size - column);
    const Vector value = multiply(subtract(load(values + column, mask), mean, mask), scale);
    const Vector weight = load(norm.weight + column, mask);
    store(values + column, multiply_add(value, weight, load(norm.bias + column, mask)), mask);
  }
}

inline void layer_norm_row(float* values, const NormWeight& norm, int64_t hidden_size) {
  const float sum = sum_over_row(hidden_size, [&](int64_t column, Mask mask, Vector so_far) {
    return add(so_far, load(values + column, mask));
  });
  normalize_row(values, sum, norm, hidden_size);
}

}  // namespace
}  // namespace bertfast::cpu
