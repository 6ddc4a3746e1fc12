#include "cpu/tiles_avx512.h"

namespace bertfast::cpu {
namespace {

struct Int8Dot {
  using Sum = __m512i;
  static Sum add(Sum sum, __m512i rows, __m512i weights) {
    return _mm512_dpbusd_epi32(sum, rows, weights);
  }
};

}  // namespace

const BlockKernel kVnniBlock = {nothing, run<Int8Dot>, nothing};

}  // namespace bertfast::cpu
