#include "kernels/first_token_attention.h"

#include <torch/csrc/stable/library.h>

#include <optional>

#include "bindings/arguments.h"
#include "bindings/kernel_tensors.h"
#include "bindings/launch.h"
#include "bindings/packed_layout.h"

namespace bertfast::bindings {
namespace {

void check(const Tensor& query, const Tensor& key_value, const Tensor& cu_seqlens,
           const std::optional<Tensor>& key_lengths) {
  check_shape("query", query, {"B", "N", "D"});
  check_shape("key_value", key_value, {"T", 2, query.size(1), query.size(2)});
  check_dtype("key_value", key_value, {query.scalar_type()});
  check_varlen(key_value.size(0), cu_seqlens, key_lengths);
  check_shape("cu_seqlens", cu_seqlens, {query.size(0) + 1});
}

Tensor first_token_attention(const Tensor& query, const Tensor& key_value, const Tensor& cu_seqlens,
                             const std::optional<Tensor>& key_lengths, double scale) {
  check(query, key_value, cu_seqlens, key_lengths);
  FirstTokenAttentionParams params = {};
  params.scale = check_scale(scale);
  params.dtype = check_element_type("query", query);
  params.num_tokens = key_value.size(0);
  params.num_sequences = check_extent("query", query, 0);
  params.num_heads = check_extent("query", query, 1);
  params.head_size = check_extent("query", query, 2, kMaxHeadSize);
  const Tensor out = torch::stable::new_empty(query, query.sizes());
  KernelTensors tensors;
  params.query = tensors.read("query", query);
  params.key_value = tensors.read("key_value", key_value);
  params.cu_seqlens = tensors.read<int32_t>("cu_seqlens", cu_seqlens);
  params.key_lengths = tensors.read<int32_t>("key_lengths", key_lengths);
  params.out = tensors.write("out", out);
  check_layout_on_host(tensors, params);
  launch("first_token_attention", launch_first_token_attention, params, tensors.all());
  return out;
}

}  // namespace
}  // namespace bertfast::bindings

STABLE_TORCH_LIBRARY_IMPL(BERTFAST_LIBRARY, BERTFAST_DISPATCH_KEY, library) {
  library.impl("first_token_attention", TORCH_BOX(&bertfast::bindings::first_token_attention));
}
