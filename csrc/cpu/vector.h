// Sixteen floats: a name for each AVX-512 instruction that row kernels use. Elements beyond a mask
// are not touched in memory, and are zero in a register.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace bertfast::cpu {
// Of each file its own: two files may be compiled for different instructions.
namespace {

using Vector = __m512;
using Mask = __mmask16;

struct BFloat16 {
  uint16_t bits;
};

constexpr int kWidth = 16;
constexpr Mask kAll = 0xFFFF;

// The first `count` elements, all of them from 16 on. count: above 0.
inline Mask first(int64_t count) {
  return count >= kWidth ? kAll : static_cast<Mask>((1u << count) - 1);
}

inline Vector zeros() { return _mm512_setzero_ps(); }
inline Vector broadcast(float value) { return _mm512_set1_ps(value); }

inline Vector load(const float* from, Mask mask) { return _mm512_maskz_loadu_ps(mask, from); }
inline Vector load(const BFloat16* from, Mask mask) {
  const __m256i halves = _mm256_maskz_loadu_epi16(mask, from);
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}
inline void store(float* to, Vector values, Mask mask) { _mm512_mask_storeu_ps(to, mask, values); }

// Rounded to the nearest, ties to even.
#ifdef __AVX512BF16__
inline __m256i to_bfloat16(Vector values) {
  return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(values));
}
#else
inline __m256i to_bfloat16(Vector values) {
  const __m512i bits = _mm512_castps_si512(values);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i half = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
  const __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(bits, half), 16);
  const Mask nan = _mm512_cmp_ps_mask(values, values, _CMP_UNORD_Q);
  return _mm512_cvtepi32_epi16(_mm512_mask_set1_epi32(rounded, nan, 0x7fc0));
}
#endif
inline void store(BFloat16* to, Vector values, Mask mask) {
  _mm256_mask_storeu_epi16(to, mask, to_bfloat16(values));
}

inline Vector add(Vector a, Vector b) { return _mm512_add_ps(a, b); }
inline Vector subtract(Vector a, Vector b, Mask mask) { return _mm512_maskz_sub_ps(mask, a, b); }
inline Vector multiply(Vector a, Vector b) { return _mm512_mul_ps(a, b); }
inline Vector multiply_add(Vector a, Vector b, Vector c) { return _mm512_fmadd_ps(a, b, c); }
inline float horizontal_sum(Vector values) { return _mm512_reduce_add_ps(values); }

}  // namespace
}  // namespace bertfast::cpu
