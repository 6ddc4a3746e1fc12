// out = activation(x + bias), the pass between the products of a feed-forward network.
#pragma once

#include <cstdint>

#include "cpu/gelu.h"

namespace bertfast::cpu {

struct BiasGeluParams {
  const float* x;     // [T, I]
  const float* bias;  // [I]
  float* out;         // [T, I]; may be x itself
  int64_t num_tokens;
  int64_t inner_size;
  Activation activation;
};

void bias_gelu(const BiasGeluParams& params);

}  // namespace bertfast::cpu
