#include "cpu/pack_rows.h"

namespace bertfast::cpu {
namespace {

void pack_row(const float* row, int64_t k, uint8_t* to) {
  for (int64_t column = 0; column < k; column += 32, to += kTileBytes) {
    const Vector low = load_or_zero(row, column, k), high = load_or_zero(row, column + 16, k);
    _mm512_store_si512(to, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low)));
  }
}

void pack_row(const BFloat16* row, int64_t k, uint8_t* to) {
  for (int64_t column = 0; column < k; column += 32, to += kTileBytes) {
    const int64_t count = k - column;
    const __mmask32 mask = count >= 32 ? ~__mmask32{0} : (__mmask32{1} << count) - 1;
    _mm512_store_si512(to, _mm512_maskz_loadu_epi16(mask, row + column));
  }
}

template <typename T>
void pack(const RowsParams& params, int64_t begin, int64_t end, uint8_t* tiles) {
  const int64_t steps = k_steps(Operand::kBFloat16, params.k);
  const T* x = static_cast<const T*>(params.x);
  for (int64_t row = begin; row < end; ++row) {
    pack_row(x + row * params.stride, params.k, tile_row(tiles, row, steps));
  }
}

}  // namespace

void pack_rows_bfloat16(const RowsParams& params, int64_t begin, int64_t end, uint8_t* tiles) {
  if (params.dtype == DType::kBFloat16) return pack<BFloat16>(params, begin, end, tiles);
  pack<float>(params, begin, end, tiles);
}

}  // namespace bertfast::cpu
