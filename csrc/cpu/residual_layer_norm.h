// out = LayerNorm(x + residual) * weight + bias, the end of every attention and feed-forward block.
#pragma once

#include <cstdint>

#include "kernels/dtype.h"

namespace bertfast::cpu {

struct ResidualLayerNormParams {
  const void* x;          // [T, H], of x_dtype
  const float* residual;  // [T, H]
  const float* weight;    // [H]
  const float* bias;      // [H]
  float* out;             // [T, H]; may be residual, or x, itself
  int64_t num_tokens;     // T
  int64_t hidden_size;    // H
  float eps;
  DType x_dtype;  // kFloat32 or kBFloat16
};

void residual_layer_norm(const ResidualLayerNormParams& params);

}  // namespace bertfast::cpu
