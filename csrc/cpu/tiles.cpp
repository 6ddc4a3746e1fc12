#include "cpu/tiles.h"

#include "cpu/features.h"

namespace bertfast::cpu {

BlockKernel block_kernel(Operand operand) {
  if (operand == Operand::kBFloat16) {
    if (has_amx_bf16()) return kAmxBFloat16Block;
    return has_bf16() ? kBFloat16Block : BlockKernel{};
  }
  if (has_amx_int8()) return kAmxInt8Block;
  return has_vnni() ? kVnniBlock : BlockKernel{};
}

}  // namespace bertfast::cpu
