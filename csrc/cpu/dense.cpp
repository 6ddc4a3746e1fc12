#include "cpu/dense.h"

#include "cpu/dense_operands.h"

namespace bertfast::cpu {

void dense(const DenseParams& params) {
  if (params.dense->operand == Operand::kBFloat16) return dense_bfloat16(params);
  dense_int8(params);
}

void layer_tail(const LayerTailParams& params) {
  if (params.output->operand == Operand::kBFloat16) return layer_tail_bfloat16(params);
  layer_tail_int8(params);
}

}  // namespace bertfast::cpu
