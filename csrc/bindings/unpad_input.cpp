#include "kernels/unpad_input.h"

#include <torch/csrc/stable/library.h>

#include <optional>
#include <string>
#include <tuple>

#include "bindings/arguments.h"
#include "bindings/ids.h"
#include "bindings/kernel_tensors.h"
#include "bindings/launch.h"

namespace bertfast::bindings {
namespace {

using OptionalTensor = std::optional<Tensor>;
using Layout = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor>;

constexpr int64_t kNumCounts = sizeof(PackedCounts) / sizeof(int64_t);

MaskDType check_mask_dtype(const Tensor& mask) {
  check_dtype("attention_mask", mask,
              {ScalarType::Bool, ScalarType::Byte, ScalarType::Char, ScalarType::Short,
               ScalarType::Int, ScalarType::Long, ScalarType::Half, ScalarType::BFloat16,
               ScalarType::Float, ScalarType::Double});
  switch (mask.scalar_type()) {
    case ScalarType::Bool:
      return MaskDType::kBool;
    case ScalarType::Byte:
      return MaskDType::kUInt8;
    case ScalarType::Char:
      return MaskDType::kInt8;
    case ScalarType::Short:
      return MaskDType::kInt16;
    case ScalarType::Int:
      return MaskDType::kInt32;
    case ScalarType::Long:
      return MaskDType::kInt64;
    case ScalarType::Half:
      return MaskDType::kFloat16;
    case ScalarType::BFloat16:
      return MaskDType::kBFloat16;
    case ScalarType::Float:
      return MaskDType::kFloat32;
    default:
      return MaskDType::kFloat64;
  }
}

void check_size(const Tensor& mask) {
  if (mask.size(1) < 1 && mask.size(0) > 0) fail("attention_mask", "at least 1 column", "0");
  if (mask.numel() <= INT32_MAX) return;
  fail("attention_mask", "at most " + std::to_string(INT32_MAX) + " positions",
       std::to_string(mask.numel()));
}

UnpadInputParams make_params(const Tensor& mask, std::optional<int64_t> pad_token_id,
                             std::optional<ScalarType> one_in) {
  UnpadInputParams params = {};
  params.mask_dtype = check_mask_dtype(mask);
  params.mask_reading = one_in.has_value() ? MaskReading::kOne : MaskReading::kNonzero;
  if (one_in.has_value()) params.model_dtype = check_element_type("one_in", *one_in);
  params.batch_size = check_extent("attention_mask", mask, 0);
  params.padded_len = check_extent("attention_mask", mask, 1);
  params.has_pad_token = pad_token_id.has_value();
  params.pad_token_id = pad_token_id.value_or(0);
  return params;
}

Layout unpad_input(const Tensor& mask, const OptionalTensor& input_ids,
                   const OptionalTensor& token_type_ids, const OptionalTensor& position_ids,
                   int64_t num_words, int64_t num_token_types, int64_t num_positions,
                   std::optional<int64_t> pad_token_id, std::optional<ScalarType> one_in) {
  check_shape("attention_mask", mask, {"B", "S"});
  check_mask_dtype(mask);
  Ids ids;
  ids.check("input_ids", input_ids, {mask.size(0), mask.size(1)});
  ids.check("token_type_ids", token_type_ids, {mask.size(0), mask.size(1)});
  ids.check("position_ids", position_ids, {mask.size(0), mask.size(1)});
  check_size(mask);
  UnpadInputParams params = make_params(mask, pad_token_id, one_in);
  params.id_dtype = ids.dtype();
  params.num_words = num_words;
  params.num_token_types = num_token_types;
  params.num_positions = num_positions;

  const auto empty = [&](int64_t size, ScalarType dtype) {
    return torch::stable::new_empty(mask, {size}, dtype);
  };
  const Layout layout = {
      empty(mask.numel(), ScalarType::Long), empty(params.batch_size + int64_t{1}, ScalarType::Int),
      empty(params.batch_size, ScalarType::Int), empty(params.batch_size, ScalarType::Long),
      empty(kNumCounts, ScalarType::Long)};
  KernelTensors tensors;
  params.attention_mask = tensors.read("attention_mask", mask);
  params.input_ids = ids.read(tensors, "input_ids", input_ids);
  params.token_type_ids = ids.read(tensors, "token_type_ids", token_type_ids);
  params.position_ids = ids.read(tensors, "position_ids", position_ids);
  params.indices = tensors.write<int64_t>("indices", std::get<0>(layout));
  params.cu_seqlens = tensors.write<int32_t>("cu_seqlens", std::get<1>(layout));
  params.key_lengths = tensors.write<int32_t>("key_lengths", std::get<2>(layout));
  params.first_rows = tensors.write<int64_t>("first_rows", std::get<3>(layout));
  params.counts = tensors.write<PackedCounts>("counts", std::get<4>(layout));
  launch("unpad_input", launch_unpad_input, params, tensors.all());
  return layout;
}

}  // namespace
}  // namespace bertfast::bindings

STABLE_TORCH_LIBRARY_IMPL(BERTFAST_LIBRARY, BERTFAST_DISPATCH_KEY, library) {
  library.impl("unpad_input", TORCH_BOX(&bertfast::bindings::unpad_input));
}
