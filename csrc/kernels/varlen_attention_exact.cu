#include "kernels/dispatch.cuh"
#include "kernels/intrinsics_launch.cuh"
#include "kernels/varlen_attention_exact.cuh"
#include "kernels/varlen_attention_paths.h"

namespace bertfast {
namespace {

template <typename T, int kMaxHeadSize, int kWidth>
cudaError_t launch_width(const VarlenAttentionParams& params, cudaStream_t stream) {
  using Layout = ExactLayout<kMaxHeadSize>;
  const int64_t tiles = first_tile<Layout::kQueries>(params.num_tokens, params.num_sequences);
  const int64_t blocks = tiles * params.num_heads;
  if (!is_grid(blocks)) return cudaErrorInvalidValue;
  return launch_kernel(varlen_attention_exact_kernel<T, kMaxHeadSize, kWidth, KeyMask>,
                       {dim3(static_cast<unsigned>(blocks)), Layout::kThreads, Layout::kSmemBytes},
                       params, stream);
}

template <typename T, int kMaxHeadSize>
cudaError_t launch_size(const VarlenAttentionParams& params, cudaStream_t stream) {
  if (is_vectorizable<T>(params.head_size, params.qkv, params.out)) {
    return launch_width<T, kMaxHeadSize, kVectorBytes / sizeof(T)>(params, stream);
  }
  return launch_width<T, kMaxHeadSize, 1>(params, stream);
}

template <typename T>
cudaError_t launch_dtype(const VarlenAttentionParams& params, cudaStream_t stream) {
  if (params.head_size <= 32) return launch_size<T, 32>(params, stream);
  if (params.head_size <= 64) return launch_size<T, 64>(params, stream);
  if (params.head_size <= 128) return launch_size<T, 128>(params, stream);
  return launch_size<T, kMaxHeadSize>(params, stream);
}

}  // namespace

cudaError_t launch_varlen_attention_exact(const VarlenAttentionParams& params,
                                          cudaStream_t stream) {
  return dispatch_dtype(params.dtype, {params.qkv, params.out}, [&](auto element) {
    return launch_dtype<decltype(element)>(params, stream);
  });
}

}  // namespace bertfast
