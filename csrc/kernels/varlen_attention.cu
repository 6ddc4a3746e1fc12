#include <cmath>
#include <limits>

#include "kernels/dispatch.cuh"
#include "kernels/varlen_attention.h"
#include "kernels/varlen_attention_paths.h"

namespace bertfast {
namespace {

constexpr int kOldestBFloat16Capability = 80;
// Within a tile of at most 128 rows, offsets have 32 bits.
constexpr int64_t kMaxRowElements = std::numeric_limits<int32_t>::max() / 128;

bool is_possible(const VarlenAttentionParams& params) {
  const int oldest =
      params.dtype == DType::kBFloat16 ? kOldestBFloat16Capability : kOldestCapability;
  return params.num_tokens > 0 && params.num_heads > 0 && params.head_size > 0 &&
         params.num_tokens <= std::numeric_limits<int32_t>::max() &&  // as cu_seqlens counts
         params.num_sequences > 0 &&                                  // which the rows belong to
         are_aligned(sizeof(int32_t), {params.cu_seqlens, params.key_lengths}) &&
         int64_t{3} * params.num_heads * params.head_size <= kMaxRowElements &&
         params.head_size <= kMaxHeadSize && params.max_seqlen >= 0 &&
         params.compute_capability >= oldest &&
         // Neither 0, negative, infinite nor NaN: the largest score is the largest before scaling.
         params.scale > 0.0f && std::isfinite(params.scale);
}

}  // namespace

cudaError_t launch_varlen_attention(const VarlenAttentionParams& params, cudaStream_t stream) {
  if (params.num_tokens == 0 || params.num_heads == 0 || params.head_size == 0) return cudaSuccess;
  if (!is_possible(params)) return cudaErrorInvalidValue;
  if (can_use_tensor_cores(params)) return launch_varlen_attention_tensor(params, stream);
  return launch_varlen_attention_exact(params, stream);
}

}  // namespace bertfast
