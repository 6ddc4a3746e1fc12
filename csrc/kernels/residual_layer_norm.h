// out = LayerNorm(x + x_bias + residual) * weight + bias, the end of every attention and
// feed-forward block.
#pragma once

#include <driver_types.h>  // cudaError_t, cudaStream_t: CUDA's own, or the emulation's stand-in

#include <cstdint>

#include "kernels/dtype.h"
#include "kernels/limits.h"

namespace bertfast {

struct ResidualLayerNormParams {
  const void* x;         // [T, H]
  const void* x_bias;    // [H], of the dense layer that made x, or null if x has it already
  const void* residual;  // [T, H], or null for a plain LayerNorm
  const void* weight;    // [H]
  const void* bias;      // [H]
  void* out;             // [T, H]; may be x or residual itself, may not overlap them otherwise
  int64_t num_tokens;    // T
  int hidden_size;       // H, at most kMaxHiddenSize
  float eps;
  DType dtype;  // of every tensor above
};

cudaError_t launch_residual_layer_norm(const ResidualLayerNormParams& params, cudaStream_t stream);

}  // namespace bertfast
