// out = activation(x + bias), the middle of the feed-forward network.
#pragma once

#include <driver_types.h>  // cudaError_t, cudaStream_t: CUDA's own, or the emulation's stand-in

#include <cstdint>

#include "kernels/dtype.h"

namespace bertfast {

// kErf is the exact GELU; kTanh is the approximation that Hugging Face calls gelu_new.
enum class Activation { kErf, kTanh, kRelu };

struct BiasGeluParams {
  const void* x;       // [T, I]
  const void* bias;    // [I]
  void* out;           // [T, I]; may be x itself, may not overlap it otherwise
  int64_t num_tokens;  // T
  int inner_size;      // I
  DType dtype;         // of x, bias and out
  Activation activation;
};

cudaError_t launch_bias_gelu(const BiasGeluParams& params, cudaStream_t stream);

}  // namespace bertfast
