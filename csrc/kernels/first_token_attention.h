// out = softmax(scale * q k^T) v for one query of each sequence and head: what the last layer of a
// head that reads one token needs.
#pragma once

#include <driver_types.h>  // cudaError_t, cudaStream_t: CUDA's own, or the emulation's stand-in

#include <cstdint>

#include "kernels/dtype.h"
#include "kernels/limits.h"

namespace bertfast {

struct FirstTokenAttentionParams {
  const void* query;           // [B, N, D]
  const void* key_value;       // [T, 2, N, D]
  const int32_t* cu_seqlens;   // [B + 1], where each sequence starts, from 0 to at most T
  const int32_t* key_lengths;  // [B], or null: every row of a sequence is a key
  void* out;                   // [B, N, D]; may not overlap anything
  int64_t num_tokens;          // T
  int num_sequences;           // B
  int num_heads;               // N
  int head_size;               // D, at most kMaxHeadSize
  float scale;                 // above 0
  DType dtype;                 // of query, key_value and out
};

// The first key_lengths[b] rows of sequence b are its keys. A query without any key gives 0. What
// varlen_attention.h says of the contents of device memory holds here, too; every row of out is
// written.
cudaError_t launch_first_token_attention(const FirstTokenAttentionParams& params,
                                         cudaStream_t stream);

}  // namespace bertfast
