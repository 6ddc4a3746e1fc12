// The ops that have kernels. bertfast/ops defines the same schemas for `bertfast` itself, with or
// without kernels, so only a library of another name is built from this file.
#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY_FRAGMENT(BERTFAST_LIBRARY, library) {
  library.def(R"(bias_gelu(Tensor x, Tensor bias, str activation="erf") -> Tensor)");
  library.def(
      "embedding_layer_norm(Tensor? input_ids, Tensor? token_type_ids, Tensor? position_ids,"
      " Tensor word_embeddings, Tensor token_type_embeddings, Tensor position_embeddings,"
      " Tensor weight, Tensor bias, float eps, Tensor? indices=None, SymInt? padded_len=None,"
      " bool checks_ids=False) -> (Tensor, Tensor)");
  library.def(
      "first_token_attention(Tensor query, Tensor key_value, Tensor cu_seqlens,"
      " Tensor? key_lengths, float scale) -> Tensor");
  library.def("gather_first(Tensor x, Tensor first_rows) -> Tensor");
  library.def("pad_input(Tensor x, Tensor indices, Tensor? num_tokens=None) -> Tensor");
  library.def(
      "residual_layer_norm(Tensor x, Tensor residual, Tensor weight, Tensor bias, float eps,"
      " Tensor? x_bias=None) -> Tensor");
  library.def(
      "unpad_input(Tensor attention_mask, Tensor? input_ids, Tensor? token_type_ids,"
      " Tensor? position_ids, SymInt num_words, SymInt num_token_types, SymInt num_positions,"
      " int? pad_token_id, ScalarType? one_in) -> (Tensor, Tensor, Tensor, Tensor, Tensor)");
  library.def(
      "varlen_attention(Tensor qkv, Tensor cu_seqlens, Tensor? key_lengths, SymInt max_seqlen,"
      " float scale) -> Tensor");
}
