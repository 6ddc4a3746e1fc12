#include "kernels/embedding_layer_norm.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <vector>

#include "bindings/arguments.h"
#include "bindings/launch.h"

namespace bertfast::bindings {
namespace {

struct Inputs {
  NamedTensor word_ids, token_type_ids, position_ids;
  NamedTensor words, token_types, positions;
  NamedTensor weight, bias;

  std::vector<NamedTensor*> ids() { return {&word_ids, &token_type_ids, &position_ids}; }
  std::vector<NamedTensor*> floats() { return {&words, &token_types, &positions, &weight, &bias}; }
};

void check(Inputs& inputs) {
  check_shape("input_ids", inputs.word_ids.tensor, {"T"});
  for (const NamedTensor* ids : inputs.ids()) {
    check_shape(ids->name, ids->tensor, {inputs.word_ids.tensor.size(0)});
    check_dtype(ids->name, ids->tensor, {ScalarType::Long, ScalarType::Int});
  }
  const Tensor& words = inputs.words.tensor;
  check_shape("word_embeddings", words, {"rows", "H"});
  for (const NamedTensor* table : {&inputs.token_types, &inputs.positions}) {
    check_shape(table->name, table->tensor, {"rows", words.size(1)});
    check_dtype(table->name, table->tensor, {words.scalar_type()});
  }
  for (const NamedTensor* parameter : {&inputs.weight, &inputs.bias}) {
    check_shape(parameter->name, parameter->tensor, {words.size(1)});
    check_dtype(parameter->name, parameter->tensor, {words.scalar_type()});
  }
}

// As the kernel reads them: contiguous, and all ids of one type.
IdDType pack(Inputs& inputs) {
  bool is_narrow = true;
  for (const NamedTensor* ids : inputs.ids()) {
    is_narrow = is_narrow && ids->tensor.scalar_type() == ScalarType::Int;
  }
  for (NamedTensor* ids : inputs.ids()) {
    if (!is_narrow) ids->tensor = torch::stable::to(ids->tensor, ScalarType::Long);
    ids->tensor = torch::stable::contiguous(ids->tensor);
  }
  for (NamedTensor* input : inputs.floats()) {
    input->tensor = torch::stable::contiguous(input->tensor);
  }
  return is_narrow ? IdDType::kInt32 : IdDType::kInt64;
}

Tensor run(Inputs inputs, double eps) {
  check(inputs);
  EmbeddingLayerNormParams params = {};
  const Tensor& words = inputs.words.tensor;
  params.dtype = check_element_type("word_embeddings", words);
  params.hidden_size = check_extent("word_embeddings", words, 1, kMaxHiddenSize);
  params.num_tokens = inputs.word_ids.tensor.size(0);
  params.num_words = words.size(0);
  params.num_token_types = inputs.token_types.tensor.size(0);
  params.num_positions = inputs.positions.tensor.size(0);
  params.eps = static_cast<float>(eps);
  params.id_dtype = pack(inputs);
  const Tensor out = torch::stable::new_empty(words, {params.num_tokens, params.hidden_size});
  params.word_ids = inputs.word_ids.tensor.const_data_ptr();
  params.token_type_ids = inputs.token_type_ids.tensor.const_data_ptr();
  params.position_ids = inputs.position_ids.tensor.const_data_ptr();
  params.word_embeddings = inputs.words.tensor.const_data_ptr();
  params.token_type_embeddings = inputs.token_types.tensor.const_data_ptr();
  params.position_embeddings = inputs.positions.tensor.const_data_ptr();
  params.weight = inputs.weight.tensor.const_data_ptr();
  params.bias = inputs.bias.tensor.const_data_ptr();
  params.out = out.mutable_data_ptr();

  std::vector<NamedTensor> tensors = {{"out", out}};
  for (const NamedTensor* ids : inputs.ids()) tensors.push_back(*ids);
  for (const NamedTensor* input : inputs.floats()) tensors.push_back(*input);
  launch("embedding_layer_norm", launch_embedding_layer_norm, params, tensors);
  return out;
}

Tensor embedding_layer_norm(const Tensor& input_ids, const Tensor& token_type_ids,
                            const Tensor& position_ids, const Tensor& word_embeddings,
                            const Tensor& token_type_embeddings, const Tensor& position_embeddings,
                            const Tensor& weight, const Tensor& bias, double eps) {
  return run({{"input_ids", input_ids},
              {"token_type_ids", token_type_ids},
              {"position_ids", position_ids},
              {"word_embeddings", word_embeddings},
              {"token_type_embeddings", token_type_embeddings},
              {"position_embeddings", position_embeddings},
              {"weight", weight},
              {"bias", bias}},
             eps);
}

}  // namespace
}  // namespace bertfast::bindings

STABLE_TORCH_LIBRARY_IMPL(BERTFAST_LIBRARY, BERTFAST_DISPATCH_KEY, library) {
  library.impl("embedding_layer_norm", TORCH_BOX(&bertfast::bindings::embedding_layer_norm));
}
