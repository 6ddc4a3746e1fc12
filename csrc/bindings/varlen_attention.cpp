#include "kernels/varlen_attention.h"

#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <climits>
#include <optional>
#include <string>

#include "bindings/arguments.h"
#include "bindings/kernel_tensors.h"
#include "bindings/launch.h"
#include "bindings/packed_layout.h"

namespace bertfast::bindings {
namespace {

// An int, as kernels take it. No sequence is longer than all of them together.
int check_max_seqlen(int64_t max_seqlen) {
  if (max_seqlen < 0) fail("max_seqlen", "at least 0", std::to_string(max_seqlen));
  return static_cast<int>(std::min<int64_t>(max_seqlen, INT_MAX));
}

VarlenAttentionParams make_params(const Tensor& qkv, const Tensor& cu_seqlens, double scale) {
  VarlenAttentionParams params = {};
  params.dtype = check_element_type("qkv", qkv);
  params.compute_capability = compute_capability("qkv", qkv);
  if (params.dtype == DType::kBFloat16 && params.compute_capability < 80) {
    fail("qkv", "torch.float32 or torch.float16 below compute capability 8.0", "torch.bfloat16");
  }
  params.num_tokens = qkv.size(0);
  params.num_sequences = check_extent("cu_seqlens", cu_seqlens, 0) - 1;
  params.num_heads = check_extent("qkv", qkv, 2);
  params.head_size = check_extent("qkv", qkv, 3, kMaxHeadSize);
  params.scale = check_scale(scale);
  return params;
}

Tensor varlen_attention(const Tensor& qkv, const Tensor& cu_seqlens,
                        const std::optional<Tensor>& key_lengths, int64_t max_seqlen,
                        double scale) {
  check_shape("qkv", qkv, {"T", 3, "N", "D"});
  check_varlen(qkv.size(0), cu_seqlens, key_lengths);
  VarlenAttentionParams params = make_params(qkv, cu_seqlens, scale);
  const Tensor out =
      torch::stable::new_empty(qkv, {params.num_tokens, params.num_heads, params.head_size});
  KernelTensors tensors;
  params.qkv = tensors.read("qkv", qkv);
  params.cu_seqlens = tensors.read<int32_t>("cu_seqlens", cu_seqlens);
  params.key_lengths = tensors.read<int32_t>("key_lengths", key_lengths);
  params.out = tensors.write("out", out);
  check_layout_on_host(tensors, params, max_seqlen);
  params.max_seqlen = check_max_seqlen(max_seqlen);
  launch("varlen_attention", launch_varlen_attention, params, tensors.all());
  return out;
}

}  // namespace
}  // namespace bertfast::bindings

STABLE_TORCH_LIBRARY_IMPL(BERTFAST_LIBRARY, BERTFAST_DISPATCH_KEY, library) {
  library.impl("varlen_attention", TORCH_BOX(&bertfast::bindings::varlen_attention));
}
