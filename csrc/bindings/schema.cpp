// The ops that have kernels. bertfast/ops defines the same schemas for `bertfast` itself, with or
// without kernels, so only a library of another name is built from this file.
#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY_FRAGMENT(BERTFAST_LIBRARY, library) {
  library.def(R"(bias_gelu(Tensor x, Tensor bias, str activation="erf") -> Tensor)");
  library.def(
      "embedding_layer_norm(Tensor input_ids, Tensor token_type_ids, Tensor position_ids,"
      " Tensor word_embeddings, Tensor token_type_embeddings, Tensor position_embeddings,"
      " Tensor weight, Tensor bias, float eps) -> Tensor");
  library.def(
      "residual_layer_norm(Tensor x, Tensor residual, Tensor weight, Tensor bias, float eps)"
      " -> Tensor");
  library.def(
      "varlen_attention(Tensor qkv, Tensor cu_seqlens, Tensor? key_lengths, SymInt max_seqlen,"
      " float scale) -> Tensor");
}
