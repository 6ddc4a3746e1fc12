#include "kernels/dispatch.cuh"
#include "kernels/residual_layer_norm.cuh"

namespace bertfast {
namespace {

template <typename T>
cudaError_t launch_dtype(const ResidualLayerNormParams& params, cudaStream_t stream) {
  const bool has_vectors =
      is_vectorizable<T>(params.hidden_size, params.x, params.x_bias, params.residual,
                         params.weight, params.bias, params.out);
  return dispatch_row_layout<T>(params.hidden_size, has_vectors, [&](auto layout) {
    using Layout = decltype(layout);
    return launch_rows<Layout>(residual_layer_norm_kernel<T, Layout>, params, stream);
  });
}

}  // namespace

cudaError_t launch_residual_layer_norm(const ResidualLayerNormParams& params, cudaStream_t stream) {
  if (params.num_tokens == 0 || params.hidden_size == 0) return cudaSuccess;
  return dispatch_dtype(
      params.dtype,
      {params.x, params.x_bias, params.residual, params.weight, params.bias, params.out},
      [&](auto element) { return launch_dtype<decltype(element)>(params, stream); });
}

}  // namespace bertfast
