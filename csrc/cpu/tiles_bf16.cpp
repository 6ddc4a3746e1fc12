#include "cpu/tiles_avx512.h"

namespace bertfast::cpu {
namespace {

struct BFloat16Dot {
  using Sum = __m512;
  static Sum add(Sum sum, __m512i rows, __m512i weights) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(rows),
                            reinterpret_cast<__m512bh>(weights));
  }
};

}  // namespace

const BlockKernel kBFloat16Block = {nothing, run<BFloat16Dot>, nothing};

}  // namespace bertfast::cpu
