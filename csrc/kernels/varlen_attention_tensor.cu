#include "kernels/dispatch.cuh"
#include "kernels/intrinsics_launch.cuh"
#include "kernels/varlen_attention_flash.cuh"
#include "kernels/varlen_attention_paths.h"
#include "kernels/varlen_attention_short.cuh"

namespace bertfast {
namespace {

constexpr int kAmpereCapability = 80;

template <typename T, int kHeadSize, int kMaxRows, TensorCores kCores>
cudaError_t launch_short(const VarlenAttentionParams& params, cudaStream_t stream) {
  using Layout = ShortLayout<kHeadSize, kMaxRows>;
  const int64_t blocks = static_cast<int64_t>(params.num_sequences) * params.num_heads;
  if (!is_grid(blocks)) return cudaErrorInvalidValue;
  return launch_kernel(varlen_attention_short_kernel<T, kHeadSize, kMaxRows, kCores, KeyMask>,
                       {dim3(static_cast<unsigned>(blocks)), Layout::kThreads, Layout::kSmemBytes},
                       params, stream);
}

template <typename T, int kHeadSize, TensorCores kCores>
cudaError_t launch_flash(const VarlenAttentionParams& params, cudaStream_t stream) {
  using Layout = FlashLayout<kHeadSize>;
  const int64_t tiles = first_tile<Layout::kQueries>(params.num_tokens, params.num_sequences);
  const int64_t blocks = tiles * params.num_heads;
  if (!is_grid(blocks)) return cudaErrorInvalidValue;
  return launch_kernel(varlen_attention_flash_kernel<T, kHeadSize, kCores, KeyMask>,
                       {dim3(static_cast<unsigned>(blocks)), Layout::kThreads, Layout::kSmemBytes},
                       params, stream);
}

template <typename T, int kHeadSize, TensorCores kCores>
cudaError_t launch_length(const VarlenAttentionParams& params, cudaStream_t stream) {
  if (params.max_seqlen <= 64) return launch_short<T, kHeadSize, 64, kCores>(params, stream);
  // 128 rows of 128 elements would leave room for one block on a multiprocessor; flash for two.
  if constexpr (kHeadSize <= 64) {
    if (params.max_seqlen <= 128) return launch_short<T, kHeadSize, 128, kCores>(params, stream);
  }
  return launch_flash<T, kHeadSize, kCores>(params, stream);
}

template <typename T, TensorCores kCores>
cudaError_t launch_size(const VarlenAttentionParams& params, cudaStream_t stream) {
  if (params.head_size == 32) return launch_length<T, 32, kCores>(params, stream);
  if (params.head_size == 64) return launch_length<T, 64, kCores>(params, stream);
  return launch_length<T, 128, kCores>(params, stream);
}

}  // namespace

bool can_use_tensor_cores(const VarlenAttentionParams& params) {
  const bool has_size = params.head_size == 32 || params.head_size == 64 || params.head_size == 128;
  return has_size && (params.dtype == DType::kFloat16 || params.dtype == DType::kBFloat16) &&
         is_vectorizable<float16>(params.head_size, params.qkv, params.out);
}

cudaError_t launch_varlen_attention_tensor(const VarlenAttentionParams& params,
                                           cudaStream_t stream) {
  if (params.dtype == DType::kBFloat16) {
    return launch_size<bfloat16, TensorCores::kAmpere>(params, stream);
  }
  if (params.compute_capability < kAmpereCapability) {
    return launch_size<float16, TensorCores::kTuring>(params, stream);
  }
  return launch_size<float16, TensorCores::kAmpere>(params, stream);
}

}  // namespace bertfast
