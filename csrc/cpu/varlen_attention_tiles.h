// Tiles of 16 rows of 64 bytes, which lie in one piece.
//
// All here has internal linkage: the same functions are compiled for several instruction sets, of
// which the linker would keep any one.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "cpu/tiles.h"

namespace bertfast::cpu {
namespace {

constexpr int round_up(int value, int multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

inline const char* at_byte(const void* base, int64_t bytes) {
  return static_cast<const char*>(base) + bytes;
}

inline __mmask64 first_bytes(int64_t count) {
  if (count >= kTileRowBytes) return ~__mmask64{0};
  return count <= 0 ? __mmask64{0} : (__mmask64{1} << count) - 1;
}

// Copies the upper left of a tile, `rows` rows of `bytes` bytes; the rest becomes 0, and nothing
// else is read.
inline void copy_tile(const void* src, int64_t stride_bytes, int rows, int64_t bytes, void* tile) {
  const __mmask64 mask = first_bytes(bytes);
  for (int r = 0; r < kTileRows; ++r) {
    const __m512i row = r < rows ? _mm512_maskz_loadu_epi8(mask, at_byte(src, r * stride_bytes))
                                 : _mm512_setzero_si512();
    _mm512_store_si512(static_cast<char*>(tile) + r * kTileRowBytes, row);
  }
}

// Four words of the rows i, 4 + i, 8 + i and 12 + i side by side.
inline __m512i gather_quarters(const char* src, int64_t stride_bytes) {
  const auto quarter = [&](int r) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(src + r * stride_bytes));
  };
  __m512i rows = _mm512_broadcast_i32x4(quarter(0));
  rows = _mm512_mask_broadcast_i32x4(rows, 0x00f0, quarter(4));
  rows = _mm512_mask_broadcast_i32x4(rows, 0x0f00, quarter(8));
  return _mm512_mask_broadcast_i32x4(rows, 0xf000, quarter(12));
}

// Words of 4 bytes: column c of the tile becomes row c of dst.
inline void transpose_tile(const void* tile, int64_t stride_bytes, void* dst,
                           int64_t dst_stride_bytes) {
  for (int column = 0; column < 16; column += 4) {
    const char* src = at_byte(tile, column * 4);
    const __m512i a = gather_quarters(src, stride_bytes);
    const __m512i b = gather_quarters(src + stride_bytes, stride_bytes);
    const __m512i c = gather_quarters(src + 2 * stride_bytes, stride_bytes);
    const __m512i d = gather_quarters(src + 3 * stride_bytes, stride_bytes);
    const __m512i ab_low = _mm512_unpacklo_epi32(a, b), ab_high = _mm512_unpackhi_epi32(a, b);
    const __m512i cd_low = _mm512_unpacklo_epi32(c, d), cd_high = _mm512_unpackhi_epi32(c, d);
    char* out = static_cast<char*>(dst) + column * dst_stride_bytes;
    _mm512_store_si512(out, _mm512_unpacklo_epi64(ab_low, cd_low));
    _mm512_store_si512(out + dst_stride_bytes, _mm512_unpackhi_epi64(ab_low, cd_low));
    _mm512_store_si512(out + 2 * dst_stride_bytes, _mm512_unpacklo_epi64(ab_high, cd_high));
    _mm512_store_si512(out + 3 * dst_stride_bytes, _mm512_unpackhi_epi64(ab_high, cd_high));
  }
}

// The same of a tile of which only the upper left is there; 0 stands for the rest.
inline void transpose_tile_part(const void* src, int64_t stride_bytes, int rows, int64_t bytes,
                                void* dst, int64_t dst_stride_bytes) {
  if (rows >= kTileRows && bytes >= kTileRowBytes) {
    transpose_tile(src, stride_bytes, dst, dst_stride_bytes);
    return;
  }
  if (rows <= 0 || bytes <= 0) {
    for (int r = 0; r < kTileRows; ++r) {
      _mm512_store_si512(static_cast<char*>(dst) + r * dst_stride_bytes, _mm512_setzero_si512());
    }
    return;
  }
  alignas(64) char whole[kTileBytes];
  copy_tile(src, stride_bytes, rows, bytes, whole);
  transpose_tile(whole, kTileRowBytes, dst, dst_stride_bytes);
}

// Every row of a tile of floats reduced by `op`: 16 results.
template <typename Op>
inline __m512 reduce_rows(const float* tile, Op op) {
  __m512 fours[4];
  for (int i = 0; i < 4; ++i) {
    const float* row = tile + i * 64;
    const __m512 a = _mm512_load_ps(row), b = _mm512_load_ps(row + 16);
    const __m512 c = _mm512_load_ps(row + 32), d = _mm512_load_ps(row + 48);
    const __m512d ab = _mm512_castps_pd(op(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b)));
    const __m512d cd = _mm512_castps_pd(op(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d)));
    fours[i] = op(_mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)),
                  _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)));
  }
  const auto fold = [&](__m512 a, __m512 b) {
    return op(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
  };
  return fold(fold(fours[0], fours[1]), fold(fours[2], fours[3]));
}

}  // namespace
}  // namespace bertfast::cpu
