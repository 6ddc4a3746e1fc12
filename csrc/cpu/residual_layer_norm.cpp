#include "cpu/residual_layer_norm.h"

#include <algorithm>
#include <cmath>

#include "cpu/parallel.h"
#include "cpu/vector.h"

namespace bertfast::cpu {
namespace {

// Fewer elements are done before another thread has woken up.
constexpr int64_t kGrainElements = 32768;

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

// Three passes over `out`, which stays in the first cache. The variance is summed from differences
// to the mean: E[x^2] - mean^2 loses every digit where the mean is large.
template <typename T>
void normalize_row(const ResidualLayerNormParams& params, int64_t row) {
  const int64_t hidden_size = params.hidden_size, start = row * hidden_size;
  const T* x = static_cast<const T*>(params.x) + start;
  const float* residual = params.residual + start;
  float* out = params.out + start;
  const float sum = sum_over_row(hidden_size, [&](int64_t column, Mask mask, Vector so_far) {
    const Vector value = add(load(x + column, mask), load(residual + column, mask));
    store(out + column, value, mask);
    return add(so_far, value);
  });
  const Vector mean = broadcast(sum / static_cast<float>(hidden_size));
  const float squares = sum_over_row(hidden_size, [&](int64_t column, Mask mask, Vector so_far) {
    const Vector difference = subtract(load(out + column, mask), mean, mask);
    return multiply_add(difference, difference, so_far);
  });
  const float variance = squares / static_cast<float>(hidden_size);
  const Vector scale = broadcast(1.0f / std::sqrt(variance + params.eps));
  for (int64_t column = 0; column < hidden_size; column += kWidth) {
    const Mask mask = first(hidden_size - column);
    const Vector value = multiply(subtract(load(out + column, mask), mean, mask), scale);
    const Vector weight = load(params.weight + column, mask);
    store(out + column, multiply_add(value, weight, load(params.bias + column, mask)), mask);
  }
}

template <typename T>
void normalize_rows(const ResidualLayerNormParams& params) {
  const int64_t grain = std::max<int64_t>(1, kGrainElements / params.hidden_size);
  parallel_for(0, params.num_tokens, grain, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) normalize_row<T>(params, row);
  });
}

}  // namespace

void residual_layer_norm(const ResidualLayerNormParams& params) {
  if (params.hidden_size <= 0) return;
  if (params.x_dtype == DType::kBFloat16) return normalize_rows<BFloat16>(params);
  normalize_rows<float>(params);
}

}  // namespace bertfast::cpu
