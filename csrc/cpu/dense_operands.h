// dense.h for each kind of operands, compiled for its instructions.
#pragma once

#include "cpu/dense.h"

namespace bertfast::cpu {

void dense_bfloat16(const DenseParams& params);
void dense_int8(const DenseParams& params);
void layer_tail_bfloat16(const LayerTailParams& params);
void layer_tail_int8(const LayerTailParams& params);

}  // namespace bertfast::cpu
