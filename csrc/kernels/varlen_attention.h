// out = softmax(scale * q k^T) v for each head of each of the sequences packed in qkv.
#pragma once

#include <driver_types.h>  // cudaError_t, cudaStream_t: CUDA's own, or the emulation's stand-in

#include <cstdint>

#include "kernels/dtype.h"
#include "kernels/limits.h"

namespace bertfast {

struct VarlenAttentionParams {
  const void* qkv;             // [T, 3, N, D]
  const int32_t* cu_seqlens;   // [B + 1], where each sequence starts, from 0 to at most T
  const int32_t* key_lengths;  // [B], or null: every row of a sequence is a key
  void* out;                   // [T, N, D]
  int64_t num_tokens;          // T
  int num_sequences;           // B
  int num_heads;               // N
  int head_size;               // D, at most kMaxHeadSize
  int max_seqlen;              // no sequence is longer
  float scale;                 // above 0
  int compute_capability;      // of the stream's device, 80 for 8.0
  DType dtype;                 // of qkv and out
};

// The first key_lengths[b] rows of sequence b are queries and keys, its other rows queries only. A
// query without any key gives 0. Below compute capability 8.0 there is no bfloat16.
//
// Rows after the last sequence are not read, and theirs in out not written. No launcher can see
// what device memory holds: that the offsets do not decrease and run from 0 to at most T, that
// key_lengths lie between 0 and the rows of their sequence, and that none is longer than
// max_seqlen, is up to the caller. Otherwise rows of out are wrong or stay as they were, but only
// rows of qkv are read and only rows of out written.
cudaError_t launch_varlen_attention(const VarlenAttentionParams& params, cudaStream_t stream);

}  // namespace bertfast
