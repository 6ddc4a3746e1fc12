#include "kernels/dispatch.cuh"
#include "kernels/residual_layer_norm.cuh"

namespace bertfast {
namespace {

// For rows too long for one warp.
constexpr int kBlockWarps = 8;
static_assert(LayerNormLayout<1, kBlockWarps>::kMaxColumns == kMaxHiddenSize);

template <typename T, int kWidth, int kWarpsPerRow, bool kHasResidual>
cudaError_t launch_layout(const ResidualLayerNormParams& params, cudaStream_t stream) {
  using Layout = LayerNormLayout<kWidth, kWarpsPerRow>;
  const int64_t blocks = ceil_divide(params.num_tokens, Layout::kRowsPerBlock);
  if (blocks > kMaxGridX) return cudaErrorInvalidValue;
  return launch_kernel(
      residual_layer_norm_kernel<T, kWidth, kWarpsPerRow, kHasResidual>,
      {dim3(static_cast<unsigned>(blocks)), Layout::kBlockThreads, Layout::kSmemBytes}, params,
      stream);
}

template <typename T, int kWidth, int kWarpsPerRow>
cudaError_t launch_residual(const ResidualLayerNormParams& params, cudaStream_t stream) {
  if (params.residual == nullptr) {
    return launch_layout<T, kWidth, kWarpsPerRow, false>(params, stream);
  }
  return launch_layout<T, kWidth, kWarpsPerRow, true>(params, stream);
}

template <typename T, int kWidth>
cudaError_t launch_width(const ResidualLayerNormParams& params, cudaStream_t stream) {
  if (params.hidden_size <= LayerNormLayout<kWidth, 1>::kMaxColumns) {
    return launch_residual<T, kWidth, 1>(params, stream);
  }
  return launch_residual<T, kWidth, kBlockWarps>(params, stream);
}

template <typename T>
cudaError_t launch_dtype(const ResidualLayerNormParams& params, cudaStream_t stream) {
  if (is_vectorizable<T>(params.hidden_size, params.x, params.residual, params.weight, params.bias,
                         params.out)) {
    return launch_width<T, kVectorBytes / sizeof(T)>(params, stream);
  }
  return launch_width<T, 1>(params, stream);
}

}  // namespace

cudaError_t launch_residual_layer_norm(const ResidualLayerNormParams& params, cudaStream_t stream) {
  if (params.num_tokens == 0 || params.hidden_size == 0) return cudaSuccess;
  if (params.hidden_size > kMaxHiddenSize) return cudaErrorInvalidValue;
  return dispatch_dtype(
      params.dtype, [&](auto element) { return launch_dtype<decltype(element)>(params, stream); });
}

}  // namespace bertfast
