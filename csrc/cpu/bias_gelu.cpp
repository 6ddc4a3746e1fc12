#include "cpu/bias_gelu.h"

#include <algorithm>

#include "cpu/parallel.h"

namespace bertfast::cpu {
namespace {

// Fewer elements are done before another thread has woken up.
constexpr int64_t kGrainElements = 16384;

template <typename Activate>
void run_rows(const BiasGeluParams& params, const Activate& activate) {
  const int64_t size = params.inner_size;
  const int64_t grain = std::max<int64_t>(1, kGrainElements / size);
  parallel_for(0, params.num_tokens, grain, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* x = params.x + row * size;
      float* out = params.out + row * size;
      for (int64_t column = 0; column < size; column += kWidth) {
        const Mask mask = first(size - column);
        const Vector value = add(load(x + column, mask), load(params.bias + column, mask));
        store(out + column, activate(value), mask);
      }
    }
  });
}

}  // namespace

void bias_gelu(const BiasGeluParams& params) {
  if (params.inner_size <= 0) return;
  with_activation<kExactDegree>(params.activation,
                                [&](const auto& activate) { run_rows(params, activate); });
}

}  // namespace bertfast::cpu
