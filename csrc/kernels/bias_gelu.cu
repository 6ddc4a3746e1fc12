#include "kernels/bias_gelu.cuh"
#include "kernels/dispatch.cuh"
#include "kernels/intrinsics_launch.cuh"

namespace bertfast {
namespace {

template <typename T, Activation kActivation, int kWidth>
cudaError_t launch_width(const BiasGeluParams& params, cudaStream_t stream) {
  const int64_t row_blocks = ceil_divide(params.num_tokens, kBiasGeluRows);
  const int64_t column_blocks = ceil_divide(params.inner_size, kBiasGeluThreads * kWidth);
  if (!is_grid(row_blocks, column_blocks)) return cudaErrorInvalidValue;
  const dim3 grid(static_cast<unsigned>(row_blocks), static_cast<unsigned>(column_blocks));
  return launch_kernel(bias_gelu_kernel<T, kActivation, kWidth>, {grid, kBiasGeluThreads}, params,
                       stream);
}

template <typename T, Activation kActivation>
cudaError_t launch_activation(const BiasGeluParams& params, cudaStream_t stream) {
  if (is_vectorizable<T>(params.inner_size, params.x, params.bias, params.out)) {
    return launch_width<T, kActivation, kVectorBytes / sizeof(T)>(params, stream);
  }
  return launch_width<T, kActivation, 1>(params, stream);
}

template <typename T>
cudaError_t launch_dtype(const BiasGeluParams& params, cudaStream_t stream) {
  switch (params.activation) {
    case Activation::kErf:
      return launch_activation<T, Activation::kErf>(params, stream);
    case Activation::kTanh:
      return launch_activation<T, Activation::kTanh>(params, stream);
    case Activation::kRelu:
      return launch_activation<T, Activation::kRelu>(params, stream);
  }
  return cudaErrorInvalidValue;
}

}  // namespace

cudaError_t launch_bias_gelu(const BiasGeluParams& params, cudaStream_t stream) {
  if (params.num_tokens == 0 || params.inner_size == 0) return cudaSuccess;
  return dispatch_dtype(params.dtype, {params.x, params.bias, params.out}, [&](auto element) {
    return launch_dtype<decltype(element)>(params, stream);
  });
}

}  // namespace bertfast
