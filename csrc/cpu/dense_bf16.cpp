#include "cpu/dense_kernels.h"
#include "cpu/dense_operands.h"

namespace bertfast::cpu {

void dense_bfloat16(const DenseParams& params) { run_dense<Operand::kBFloat16>(params); }
void layer_tail_bfloat16(const LayerTailParams& params) {
  run_layer_tail<Operand::kBFloat16>(params);
}

}  // namespace bertfast::cpu
