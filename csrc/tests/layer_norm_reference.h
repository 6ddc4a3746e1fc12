#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "tests/tensor.h"

namespace bertfast::testing {

// LayerNorm of each row of `values`, rows as long as `weight` and `bias`.
inline std::vector<double> layer_norm_reference(std::vector<double> values, const Tensor& weight,
                                                const Tensor& bias, double eps) {
  const int64_t size = weight.size();
  for (auto row = values.begin(); row != values.end(); row += size) {
    double mean = 0, variance = 0;
    for (int64_t i = 0; i < size; ++i) mean += row[i] / size;
    for (int64_t i = 0; i < size; ++i) variance += (row[i] - mean) * (row[i] - mean) / size;
    for (int64_t i = 0; i < size; ++i) {
      row[i] = (row[i] - mean) / std::sqrt(variance + eps) * weight.at(i) + bias.at(i);
    }
  }
  return values;
}

}  // namespace bertfast::testing
