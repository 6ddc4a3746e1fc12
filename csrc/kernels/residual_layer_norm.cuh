#pragma once

#include "kernels/intrinsics.cuh"
#include "kernels/layer_norm_row.cuh"
#include "kernels/residual_layer_norm.h"

namespace bertfast {

// The explicit 1 leaves the compiler every register: by itself it would rather fit in one more
// block, and spill.
template <typename T, typename Layout>
__global__ void __launch_bounds__(Layout::kBlockThreads, 1)
    residual_layer_norm_kernel(ResidualLayerNormParams params) {
  const int64_t row = Layout::row();
  if (row >= params.num_tokens) return;  // A whole warp or none, so no lane waits in vain.
  const int64_t offset = row * params.hidden_size;

  RowPart<T, Layout> x, x_bias = {}, residual = {};
  load_row<Layout>(static_cast<const T*>(params.x) + offset, params.hidden_size, x);
  if (params.residual != nullptr) {
    load_row<Layout>(static_cast<const T*>(params.residual) + offset, params.hidden_size, residual);
  }
  if (params.x_bias != nullptr) {
    load_row<Layout>(static_cast<const T*>(params.x_bias), params.hidden_size, x_bias);
  }
  RowPart<float, Layout> values = {};
  add_row<Layout>(x, values);
  add_row<Layout>(x_bias, values);
  add_row<Layout>(residual, values);
  layer_norm_row<T, Layout>(params, values, static_cast<T*>(params.out) + offset);
}

}  // namespace bertfast
