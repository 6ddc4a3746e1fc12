// out = LayerNorm(word + token type + position embedding) * weight + bias, the first thing an
// encoder does.
#pragma once

#include <driver_types.h>  // cudaError_t, cudaStream_t: CUDA's own, or the emulation's stand-in

#include <cstdint>

#include "kernels/dtype.h"
#include "kernels/id_range.h"
#include "kernels/limits.h"

namespace bertfast {

// Token t stands at position indices[t] of the padded batch, row after row of padded_len columns,
// and there its ids are read: no one has to pack them first. Without indices it stands at t.
struct EmbeddingLayerNormParams {
  const int64_t* indices;       // [T], or null
  const void* word_ids;         // by position, or null: the position itself, for given embeddings
  const void* token_type_ids;   // by position, or null: 0
  const void* position_ids;     // by position, or null: the column
  const void* word_embeddings;  // [num_words, H]
  const void* token_type_embeddings;  // [num_token_types, H]
  const void* position_embeddings;    // [num_positions, H]
  const void* weight;                 // [H]
  const void* bias;                   // [H]
  void* out;                          // [T, H]; may not overlap anything
  uint32_t* out_of_range;  // A word that gets the bits of id_range.h, and ids outside of a table
                           // are clamped; or null, and ids are taken to be in range.
  int64_t num_tokens;      // T
  int64_t num_words;
  int64_t num_token_types;
  int64_t num_positions;
  int padded_len;   // S; read only where position_ids are null
  int hidden_size;  // H, at most kMaxHiddenSize
  float eps;
  DType dtype;  // of tables, weight, bias and out
  IdDType id_dtype;
};

cudaError_t launch_embedding_layer_norm(const EmbeddingLayerNormParams& params,
                                        cudaStream_t stream);

}  // namespace bertfast
