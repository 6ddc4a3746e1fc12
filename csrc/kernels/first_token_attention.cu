#include <cmath>

#include "kernels/dispatch.cuh"
#include "kernels/first_token_attention.cuh"
#include "kernels/intrinsics_launch.cuh"

namespace bertfast {
namespace {

template <typename T, typename Layout>
cudaError_t launch_layout(const FirstTokenAttentionParams& params, cudaStream_t stream) {
  const int64_t blocks = static_cast<int64_t>(params.num_sequences) * params.num_heads;
  if (!is_grid(blocks)) return cudaErrorInvalidValue;
  return launch_kernel(first_token_attention_kernel<T, Layout>,
                       {dim3(static_cast<unsigned>(blocks)), Layout::kThreads, Layout::kSmemBytes},
                       params, stream);
}

template <typename T, int kHeadSize>
cudaError_t launch_size(const FirstTokenAttentionParams& params, cudaStream_t stream) {
  constexpr int kWidth = kVectorBytes / sizeof(T), kVectors = kHeadSize / kWidth;
  constexpr int kLanes = kVectors < kWarpSize ? kVectors : kWarpSize;
  return launch_layout<T, FirstTokenLayout<kWidth, kLanes, kVectors / kLanes>>(params, stream);
}

template <typename T>
cudaError_t launch_dtype(const FirstTokenAttentionParams& params, cudaStream_t stream) {
  if (!is_vectorizable<T>(params.head_size, params.query, params.key_value)) {
    return launch_layout<T, FirstTokenLayout<1, kWarpSize, kMaxHeadSize / kWarpSize>>(params,
                                                                                      stream);
  }
  if (params.head_size <= 32) return launch_size<T, 32>(params, stream);
  if (params.head_size <= 64) return launch_size<T, 64>(params, stream);
  if (params.head_size <= 128) return launch_size<T, 128>(params, stream);
  return launch_size<T, kMaxHeadSize>(params, stream);
}

bool is_possible(const FirstTokenAttentionParams& params) {
  return params.num_tokens >= 0 && params.num_tokens <= INT32_MAX &&  // as cu_seqlens counts
         params.num_sequences > 0 && params.num_heads > 0 && params.head_size > 0 &&
         params.head_size <= kMaxHeadSize &&
         are_aligned(sizeof(int32_t), {params.cu_seqlens, params.key_lengths}) &&
         params.scale > 0.0f && std::isfinite(params.scale);
}

}  // namespace

cudaError_t launch_first_token_attention(const FirstTokenAttentionParams& params,
                                         cudaStream_t stream) {
  if (params.num_sequences == 0 || params.num_heads == 0 || params.head_size == 0) {
    return cudaSuccess;
  }
  if (!is_possible(params)) return cudaErrorInvalidValue;
  return dispatch_dtype(
      params.dtype, {params.query, params.key_value, params.out},
      [&](auto element) { return launch_dtype<decltype(element)>(params, stream); });
}

}  // namespace bertfast
