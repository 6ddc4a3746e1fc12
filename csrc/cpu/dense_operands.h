// dense.h for each kind of operands. bfloat16 is compiled for AVX512-BF16, so that only what asked
// has_bf16() may call it: bertfast/cpu_dense.py does when a weight is packed.
#pragma once

#include "cpu/dense.h"

namespace bertfast::cpu {

void dense_bfloat16(const DenseParams& params);
void dense_int8(const DenseParams& params);
void layer_tail_bfloat16(const LayerTailParams& params);
void layer_tail_int8(const LayerTailParams& params);

}  // namespace bertfast::cpu
