// What this CPU, and the operating system, let kernels use. Asked before a file is called whose
// name ends in _vnni, _bf16 or _amx: it was compiled for those instructions.
#pragma once

namespace bertfast::cpu {

// The newest instructions that kernels may use, to test older paths on a newer CPU.
enum class Isa { kAvx512, kAmx };

void limit_isa(Isa newest);

// F, BW, VL and DQ, and FMA: what every file here is compiled for.
bool has_avx512();
bool has_vnni();  // AVX512-VNNI
bool has_bf16();  // AVX512-BF16
// Unless limit_isa(kAvx512). The first of these asks the kernel for leave to use tiles, once.
bool has_amx_int8();
bool has_amx_bf16();

}  // namespace bertfast::cpu
