#include "kernels/embedding_layer_norm.h"

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

struct Arguments {
  OptionalTensor input_ids, token_type_ids, position_ids;
  Tensor words, token_types, positions;
  Tensor weight, bias;
  double eps;
  OptionalTensor indices;
  std::optional<int64_t> padded_len;
  bool checks_ids;

  int64_t num_positions() const {
    return input_ids.has_value() ? input_ids->size(0) : words.size(0);
  }
  int64_t num_tokens() const { return indices.has_value() ? indices->size(0) : num_positions(); }
};

void check_parameters(const Arguments& a) {
  check_shape("word_embeddings", a.words, {"rows", "H"});
  const auto check_table = [&](const char* name, const Tensor& table) {
    check_shape(name, table, {"rows", a.words.size(1)});
    check_dtype(name, table, {a.words.scalar_type()});
  };
  check_table("token_type_embeddings", a.token_types);
  check_table("position_embeddings", a.positions);
  const auto check_rows = [](const char* name, const Tensor& table) {
    if (table.size(0) < 1) fail(name, "at least 1 row", "0");
  };
  if (a.input_ids.has_value() || a.num_tokens() > 0) check_rows("word_embeddings", a.words);
  check_rows("token_type_embeddings", a.token_types);
  check_rows("position_embeddings", a.positions);
  const auto check_parameter = [&](const char* name, const Tensor& parameter) {
    check_shape(name, parameter, {a.words.size(1)});
    check_dtype(name, parameter, {a.words.scalar_type()});
  };
  check_parameter("weight", a.weight);
  check_parameter("bias", a.bias);
}

int check_columns(const Arguments& a) {
  if (a.position_ids.has_value()) return 0;
  if (!a.padded_len.has_value()) {
    fail("padded_len", "the columns of the batch, without position_ids", "None");
  }
  const int64_t num_rows = a.positions.size(0), padded_len = *a.padded_len;
  if (padded_len >= 1 && padded_len <= num_rows && padded_len <= INT32_MAX) {
    return static_cast<int>(padded_len);
  }
  fail("padded_len", "1 to " + std::to_string(num_rows) + ", the rows of position_embeddings",
       std::to_string(padded_len));
}

Ids check(const Arguments& a) {
  if (a.input_ids.has_value()) check_shape("input_ids", *a.input_ids, {"P"});
  if (a.indices.has_value()) check_shape("indices", *a.indices, {"T"});
  check_parameters(a);
  Ids ids;
  ids.check("input_ids", a.input_ids, {a.num_positions()});
  ids.check("token_type_ids", a.token_type_ids, {a.num_positions()});
  ids.check("position_ids", a.position_ids, {a.num_positions()});
  if (a.indices.has_value()) check_dtype("indices", *a.indices, {ScalarType::Long});
  return ids;
}

std::tuple<Tensor, Tensor> run(const Arguments& a) {
  const Ids ids = check(a);
  EmbeddingLayerNormParams params = {};
  params.padded_len = check_columns(a);
  params.dtype = check_element_type("word_embeddings", a.words);
  params.hidden_size = check_extent("word_embeddings", a.words, 1, kMaxHiddenSize);
  params.num_tokens = a.num_tokens();
  params.num_words = a.words.size(0);
  params.num_token_types = a.token_types.size(0);
  params.num_positions = a.positions.size(0);
  params.eps = static_cast<float>(a.eps);
  params.id_dtype = ids.dtype();
  const Tensor out = torch::stable::new_empty(a.words, {params.num_tokens, params.hidden_size});
  KernelTensors tensors;
  params.word_embeddings = tensors.read("word_embeddings", a.words);
  params.token_type_embeddings = tensors.read("token_type_embeddings", a.token_types);
  params.position_embeddings = tensors.read("position_embeddings", a.positions);
  params.weight = tensors.read("weight", a.weight);
  params.bias = tensors.read("bias", a.bias);
  params.word_ids = ids.read(tensors, "input_ids", a.input_ids);
  params.token_type_ids = ids.read(tensors, "token_type_ids", a.token_type_ids);
  params.position_ids = ids.read(tensors, "position_ids", a.position_ids);
  params.indices = tensors.read<int64_t>("indices", a.indices);
  const Tensor bits = torch::stable::new_zeros(a.words, {a.checks_ids ? 1 : 0}, ScalarType::Int);
  if (a.checks_ids) params.out_of_range = tensors.write<uint32_t>("out_of_range", bits);
  params.out = tensors.write("out", out);
  launch("embedding_layer_norm", launch_embedding_layer_norm, params, tensors.all());
  return {out, bits};
}

std::tuple<Tensor, Tensor> embedding_layer_norm(
    const OptionalTensor& input_ids, const OptionalTensor& token_type_ids,
    const OptionalTensor& position_ids, const Tensor& word_embeddings,
    const Tensor& token_type_embeddings, const Tensor& position_embeddings, const Tensor& weight,
    const Tensor& bias, double eps, const OptionalTensor& indices,
    std::optional<int64_t> padded_len, bool checks_ids) {
  return run({input_ids, token_type_ids, position_ids, word_embeddings, token_type_embeddings,
              position_embeddings, weight, bias, eps, indices, padded_len, checks_ids});
}

}  // namespace
}  // namespace bertfast::bindings

STABLE_TORCH_LIBRARY_IMPL(BERTFAST_LIBRARY, BERTFAST_DISPATCH_KEY, library) {
  library.impl("embedding_layer_norm", TORCH_BOX(&bertfast::bindings::embedding_layer_norm));
}
