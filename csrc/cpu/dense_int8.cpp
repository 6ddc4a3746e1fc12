#include "cpu/dense_kernels.h"
#include "cpu/dense_operands.h"

namespace bertfast::cpu {

void dense_int8(const DenseParams& params) { run_dense<Operand::kInt8>(params); }
void layer_tail_int8(const LayerTailParams& params) { run_layer_tail<Operand::kInt8>(params); }

}  // namespace bertfast::cpu
