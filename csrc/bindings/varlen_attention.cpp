#include "kernels/varlen_attention.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <climits>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "bindings/arguments.h"
#include "bindings/launch.h"

namespace bertfast::bindings {
namespace {

void check(const Tensor& qkv, const Tensor& cu_seqlens, const std::optional<Tensor>& key_lengths) {
  check_shape("qkv", qkv, {"T", 3, "N", "D"});
  check_shape("cu_seqlens", cu_seqlens, {"B + 1"});
  check_dtype("cu_seqlens", cu_seqlens, {ScalarType::Int});
  if (!key_lengths.has_value()) return;
  check_shape("key_lengths", *key_lengths, {cu_seqlens.size(0) - 1});
  check_dtype("key_lengths", *key_lengths, {ScalarType::Int});
}

// An int, as kernels take it. No sequence is longer than all of them together.
int check_max_seqlen(int64_t max_seqlen, int64_t num_tokens) {
  if (max_seqlen > 0) return static_cast<int>(std::min<int64_t>(max_seqlen, INT_MAX));
  if (num_tokens > 0) fail("max_seqlen", "at least 1", std::to_string(max_seqlen));
  return 1;
}

float check_scale(double scale) {
  const auto narrow = static_cast<float>(scale);
  if (narrow > 0.0f && std::isfinite(narrow)) return narrow;
  fail("scale", "a finite number above 0", std::to_string(scale));
}

VarlenAttentionParams make_params(const Tensor& qkv, const Tensor& cu_seqlens, int64_t max_seqlen,
                                  double scale) {
  VarlenAttentionParams params = {};
  params.dtype = check_element_type("qkv", qkv);
  params.compute_capability = compute_capability(qkv);
  if (params.dtype == DType::kBFloat16 && params.compute_capability < 80) {
    fail("qkv", "torch.float32 or torch.float16 below compute capability 8.0", "torch.bfloat16");
  }
  params.num_tokens = qkv.size(0);
  params.num_sequences = check_extent("cu_seqlens", cu_seqlens, 0) - 1;
  params.num_heads = check_extent("qkv", qkv, 2);
  params.head_size = check_extent("qkv", qkv, 3, kMaxHeadSize);
  params.max_seqlen = check_max_seqlen(max_seqlen, params.num_tokens);
  params.scale = check_scale(scale);
  return params;
}

Tensor varlen_attention(const Tensor& qkv, const Tensor& cu_seqlens,
                        const std::optional<Tensor>& key_lengths, int64_t max_seqlen,
                        double scale) {
  check(qkv, cu_seqlens, key_lengths);
  VarlenAttentionParams params = make_params(qkv, cu_seqlens, max_seqlen, scale);
  const Tensor out =
      torch::stable::new_empty(qkv, {params.num_tokens, params.num_heads, params.head_size});
  std::vector<NamedTensor> tensors = {{"qkv", torch::stable::contiguous(qkv)},
                                      {"cu_seqlens", torch::stable::contiguous(cu_seqlens)},
                                      {"out", out}};
  params.qkv = tensors[0].tensor.const_data_ptr();
  params.cu_seqlens = tensors[1].tensor.const_data_ptr<int32_t>();
  params.out = out.mutable_data_ptr();
  if (key_lengths.has_value()) {
    tensors.push_back({"key_lengths", torch::stable::contiguous(*key_lengths)});
    params.key_lengths = tensors.back().tensor.const_data_ptr<int32_t>();
  }
  launch("varlen_attention", launch_varlen_attention, params, tensors);
  return out;
}

}  // namespace
}  // namespace bertfast::bindings

STABLE_TORCH_LIBRARY_IMPL(BERTFAST_LIBRARY, BERTFAST_DISPATCH_KEY, library) {
  library.impl("varlen_attention", TORCH_BOX(&bertfast::bindings::varlen_attention));
}
