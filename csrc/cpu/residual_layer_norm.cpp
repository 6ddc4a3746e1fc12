#include "cpu/residual_layer_norm.h"

#include <algorithm>

#include "cpu/layer_norm_row.h"
#include "cpu/parallel.h"

namespace bertfast::cpu {
namespace {

// Fewer elements are done before another thread has woken up.
constexpr int64_t kGrainElements = 32768;

template <typename T>
void add_and_normalize_row(const ResidualLayerNormParams& params, int64_t row) {
  const int64_t start = row * params.hidden_size;
  const T* x = static_cast<const T*>(params.x) + start;
  const float* residual = params.residual + start;
  float* out = params.out + start;
  const float sum = sum_over_row(params.hidden_size, [&](int64_t column, Mask mask, Vector so_far) {
    const Vector value = add(load(x + column, mask), load(residual + column, mask));
    store(out + column, value, mask);
    return add(so_far, value);
  });
  normalize_row(out, sum, {params.weight, params.bias, params.eps}, params.hidden_size);
}

template <typename T>
void normalize_rows(const ResidualLayerNormParams& params) {
  const int64_t grain = std::max<int64_t>(1, kGrainElements / params.hidden_size);
  parallel_for(0, params.num_tokens, grain, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) add_and_normalize_row<T>(params, row);
  });
}

}  // namespace

void residual_layer_norm(const ResidualLayerNormParams& params) {
  if (params.hidden_size <= 0) return;
  if (params.x_dtype == DType::kBFloat16) return normalize_rows<BFloat16>(params);
  normalize_rows<float>(params);
}

}  // namespace bertfast::cpu
