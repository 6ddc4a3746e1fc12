// Dense layers of packed weights (tiles.h), fused with what an encoder does around them. Sums are
// float32 or int32, all else is computed in float32; activated values wait in bfloat16.
#pragma once

#include <cstdint>

#include "cpu/gelu.h"
#include "cpu/layer_norm_row.h"
#include "cpu/packing.h"

namespace bertfast::cpu {

// y = x W^T + b, once the weight is packed.
struct DenseWeight {
  Operand operand;
  const uint8_t* panels;  // packed_weight_bytes
  const float* bias;      // [columns]
  const float* scales;    // int8: [columns], else null
  const float* sums;      // int8: [columns], else null
  int64_t columns;
  int64_t k;
};

struct DenseParams {
  const DenseWeight* dense;
  const void* x;  // [T, k]
  void* out;      // [T, columns], of out_dtype; not x
  int64_t num_tokens;
  DType x_dtype;    // kFloat32 or kBFloat16
  DType out_dtype;  // kFloat32 or kBFloat16
};

// out = y.
void dense(const DenseParams& params);

// What a post-LN layer does with each row after attention.
struct LayerTailParams {
  const DenseWeight* attention_output;
  NormWeight attention_norm;
  const DenseWeight* intermediate;
  Activation activation;
  const DenseWeight* output;
  NormWeight output_norm;
  const void* context;  // [T, H], of context_dtype
  const float* x;       // [T, H]
  float* out;           // [T, H]; not x
  int64_t num_tokens;
  DType context_dtype;  // kFloat32 or kBFloat16
};

// a = LayerNorm(x + attention_output(context)); out = LayerNorm(a + output(act(intermediate(a)))).
void layer_tail(const LayerTailParams& params);

}  // namespace bertfast::cpu
