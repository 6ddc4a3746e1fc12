// Attention over sequences packed without padding.
#pragma once

#include <cstdint>

#include "kernels/dtype.h"

namespace bertfast::cpu {

struct VarlenAttentionParams {
  const void* qkv;             // [T, 3, N, D]
  const int32_t* cu_seqlens;   // [B + 1]
  const int32_t* key_lengths;  // [B], or null: every row is a key
  void* out;                   // [T, N, D]; rows after the last sequence become 0
  int64_t num_tokens;          // T
  int64_t num_sequences;       // B
  int num_heads;               // N
  int head_size;               // D
  float scale;                 // finite and above 0
  DType dtype;                 // kFloat32, or where has_amx_bf16() kBFloat16
};

// Throws std::invalid_argument for offsets that are not from 0 up to at most T, for more keys than
// their sequence has rows, and for a dtype that is not computed here.
void varlen_attention(const VarlenAttentionParams& params);

}  // namespace bertfast::cpu
