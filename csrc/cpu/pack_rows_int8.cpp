#include <limits>

#include "cpu/pack_rows.h"

namespace bertfast::cpu {
namespace {

constexpr float kCodes = 255.0f;
constexpr float kSmallestScale = 0x1p-120f;
// QNaN, infinities and SNaN, as VFPCLASSPS numbers them.
constexpr int kNotFinite = 0x01 | 0x08 | 0x10 | 0x80;

// The code that spans what a row holds, and zero, which it gives exactly.
template <typename T>
RowCode code_of(const T* row, int64_t k) {
  Vector low = zeros(), high = zeros();
  Mask bad = 0;
  for (int64_t column = 0; column < k; column += kWidth) {
    const Vector value = load(row + column, first(k - column));
    low = _mm512_min_ps(value, low);
    high = _mm512_max_ps(value, high);
    bad |= _mm512_fpclass_ps_mask(value, kNotFinite);
  }
  if (bad) return {std::numeric_limits<float>::quiet_NaN(), 0.0f};
  const float lowest = _mm512_reduce_min_ps(low), highest = _mm512_reduce_max_ps(high);
  // Divided first: the difference may be more than a float holds.
  const float scale = std::max(highest / kCodes - lowest / kCodes, kSmallestScale);
  return {scale, __builtin_nearbyintf(-lowest / scale)};
}

template <typename T>
void pack_row(const T* row, int64_t k, RowCode code, uint8_t* to) {
  const Vector inverse = broadcast(1.0f / code.scale), zero = broadcast(code.zero);
  for (int64_t column = 0; column < k; column += 64, to += kTileBytes) {
    for (int part = 0; part < 4; ++part) {
      const Vector value = load_or_zero(row, column + part * kWidth, k);
      const __m512i rounded = _mm512_cvtps_epi32(multiply_add(value, inverse, zero));
      const __m512i positive = _mm512_max_epi32(rounded, _mm512_setzero_si512());
      _mm_store_si128(reinterpret_cast<__m128i*>(to) + part, _mm512_cvtusepi32_epi8(positive));
    }
  }
}

template <typename T>
void pack(const RowsParams& params, int64_t begin, int64_t end, uint8_t* tiles, RowCode* codes) {
  const int64_t steps = k_steps(Operand::kInt8, params.k);
  const T* x = static_cast<const T*>(params.x);
  for (int64_t row = begin; row < end; ++row) {
    codes[row] = code_of(x + row * params.stride, params.k);
    pack_row(x + row * params.stride, params.k, codes[row], tile_row(tiles, row, steps));
  }
}

}  // namespace

void pack_rows_int8(const RowsParams& params, int64_t begin, int64_t end, uint8_t* tiles,
                    RowCode* codes) {
  if (params.dtype == DType::kBFloat16) return pack<BFloat16>(params, begin, end, tiles, codes);
  pack<float>(params, begin, end, tiles, codes);
}

}  // namespace bertfast::cpu
