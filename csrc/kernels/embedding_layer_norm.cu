#include "kernels/dispatch.cuh"
#include "kernels/embedding_layer_norm.cuh"

namespace bertfast {
namespace {

template <typename T>
cudaError_t launch_dtype(const EmbeddingLayerNormParams& params, cudaStream_t stream) {
  const bool has_vectors =
      is_vectorizable<T>(params.hidden_size, params.word_embeddings, params.token_type_embeddings,
                         params.position_embeddings, params.weight, params.bias, params.out);
  return dispatch_row_layout<T>(params.hidden_size, has_vectors, [&](auto layout) {
    using Layout = decltype(layout);
    return launch_rows<Layout>(embedding_layer_norm_kernel<T, Layout>, params, stream);
  });
}

bool is_possible(const EmbeddingLayerNormParams& params) {
  const bool has_columns = params.position_ids != nullptr || params.padded_len > 0;
  // An id cannot be clamped into an empty table.
  const bool has_rows =
      params.num_words > 0 && params.num_token_types > 0 && params.num_positions > 0;
  const bool has_id_dtype =
      params.id_dtype == IdDType::kInt32 || params.id_dtype == IdDType::kInt64;
  const size_t id_bytes = params.id_dtype == IdDType::kInt32 ? sizeof(int32_t) : sizeof(int64_t);
  return has_columns && has_rows && has_id_dtype &&
         are_aligned(id_bytes, {params.word_ids, params.token_type_ids, params.position_ids}) &&
         are_aligned(sizeof(int64_t), {params.indices}) &&
         are_aligned(sizeof(uint32_t), {params.out_of_range});
}

}  // namespace

cudaError_t launch_embedding_layer_norm(const EmbeddingLayerNormParams& params,
                                        cudaStream_t stream) {
  if (params.num_tokens == 0 || params.hidden_size == 0) return cudaSuccess;
  if (!is_possible(params)) return cudaErrorInvalidValue;
  return dispatch_dtype(
      params.dtype,
      {params.word_embeddings, params.token_type_embeddings, params.position_embeddings,
       params.weight, params.bias, params.out},
      [&](auto element) { return launch_dtype<decltype(element)>(params, stream); });
}

}  // namespace bertfast
