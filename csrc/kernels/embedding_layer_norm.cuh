#pragma once

#include "kernels/embedding_layer_norm.h"
#include "kernels/intrinsics.cuh"
#include "kernels/intrinsics_bits.cuh"
#include "kernels/layer_norm_row.cuh"

namespace bertfast {

// The rows of the three tables that make a token's embedding.
struct EmbeddingRows {
  int64_t word;
  int64_t token_type;
  int64_t position;
};

template <typename Id>
__device__ __forceinline__ EmbeddingRows load_ids(const EmbeddingLayerNormParams& params,
                                                  int64_t place) {
  EmbeddingRows ids = {place, 0, 0};
  if (params.word_ids != nullptr) {
    ids.word = load<1>(static_cast<const Id*>(params.word_ids) + place)[0];
  }
  if (params.token_type_ids != nullptr) {
    ids.token_type = load<1>(static_cast<const Id*>(params.token_type_ids) + place)[0];
  }
  if (params.position_ids != nullptr) {
    ids.position = load<1>(static_cast<const Id*>(params.position_ids) + place)[0];
  } else {
    ids.position = place % params.padded_len;
  }
  return ids;
}

// The row of a table that `id` stands for. A read outside of it would end the whole process.
__device__ __forceinline__ int64_t table_row(int64_t id, int64_t num_rows, uint32_t* out_of_range,
                                             uint32_t bit) {
  if (out_of_range == nullptr || (id >= 0 && id < num_rows)) return id;
  set_bits(out_of_range, bit);
  return id < 0 ? 0 : num_rows - 1;
}

__device__ __forceinline__ EmbeddingRows find_rows(const EmbeddingLayerNormParams& params,
                                                   int64_t token) {
  const int64_t place = params.indices == nullptr ? token : load<1>(params.indices + token)[0];
  const EmbeddingRows ids = params.id_dtype == IdDType::kInt32 ? load_ids<int32_t>(params, place)
                                                               : load_ids<int64_t>(params, place);
  uint32_t* flags = params.out_of_range;
  return {table_row(ids.word, params.num_words, flags, kWordIdOutOfRange),
          table_row(ids.token_type, params.num_token_types, flags, kTokenTypeIdOutOfRange),
          table_row(ids.position, params.num_positions, flags, kPositionIdOutOfRange)};
}

template <typename T, typename Layout>
__device__ __forceinline__ void load_table_row(const void* table, int64_t row, int hidden_size,
                                               RowPart<T, Layout>& vectors) {
  load_row<Layout>(static_cast<const T*>(table) + row * hidden_size, hidden_size, vectors);
}

// The explicit 1: see residual_layer_norm_kernel.
template <typename T, typename Layout>
__global__ void __launch_bounds__(Layout::kBlockThreads, 1)
    embedding_layer_norm_kernel(EmbeddingLayerNormParams params) {
  const int64_t token = Layout::row();
  if (token >= params.num_tokens) return;  // A whole warp or none, so no lane waits in vain.
  const int size = params.hidden_size;
  const EmbeddingRows rows = find_rows(params, token);

  RowPart<T, Layout> word, token_type, position;
  load_table_row<T, Layout>(params.word_embeddings, rows.word, size, word);
  load_table_row<T, Layout>(params.token_type_embeddings, rows.token_type, size, token_type);
  load_table_row<T, Layout>(params.position_embeddings, rows.position, size, position);
  RowPart<float, Layout> values = {};
  // Hugging Face's order, so that float32 sums are the same to the last bit.
  add_row<Layout>(word, values);
  add_row<Layout>(token_type, values);
  add_row<Layout>(position, values);
  layer_norm_row<T, Layout>(params, values, static_cast<T*>(params.out) + token * size);
}

}  // namespace bertfast
