// Included before each file of csrc/cpu in a build with sanitizers: what reads or writes memory in
// ways that they do not see does it element by element, which they do. Masked accesses are the
// compiler's own functions to them, and AMX is assembly.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace checked_intrinsics {

using Word __attribute__((aligned(1), may_alias)) = uint32_t;

template <typename Vector, typename Element>
inline Vector load(uint64_t mask, const void* from) {
  constexpr int kLanes = sizeof(Vector) / sizeof(Element);
  alignas(64) Element lanes[kLanes] = {};
  using At __attribute__((aligned(1), may_alias)) = Element;
  for (int i = 0; i < kLanes; ++i) {
    if (mask >> i & 1) lanes[i] = static_cast<const At*>(from)[i];
  }
  return *reinterpret_cast<const Vector*>(lanes);
}

template <typename Vector, typename Element>
inline void store(void* to, uint64_t mask, Vector value) {
  constexpr int kLanes = sizeof(Vector) / sizeof(Element);
  alignas(64) Element lanes[kLanes];
  *reinterpret_cast<Vector*>(lanes) = value;
  using At __attribute__((aligned(1), may_alias)) = Element;
  for (int i = 0; i < kLanes; ++i) {
    if (mask >> i & 1) static_cast<At*>(to)[i] = lanes[i];
  }
}

// Volatile: in order with the assembly that follows, and not left out.
inline void read_tile(const void* base, int64_t stride) {
  for (int row = 0; row < 16; ++row) {
    const auto* at =
        reinterpret_cast<const volatile Word*>(static_cast<const char*>(base) + row * stride);
    for (int i = 0; i < 16; ++i) static_cast<void>(at[i]);
  }
}

inline void write_tile(void* base, int64_t stride) {
  for (int row = 0; row < 16; ++row) {
    auto* at = reinterpret_cast<volatile Word*>(static_cast<char*>(base) + row * stride);
    for (int i = 0; i < 16; ++i) at[i] = 0;
  }
}

}  // namespace checked_intrinsics

#define _mm512_maskz_loadu_ps(mask, from) checked_intrinsics::load<__m512, float>(mask, from)
#define _mm512_maskz_loadu_epi8(mask, from) checked_intrinsics::load<__m512i, uint8_t>(mask, from)
#define _mm512_maskz_loadu_epi16(mask, from) checked_intrinsics::load<__m512i, uint16_t>(mask, from)
#define _mm256_maskz_loadu_epi16(mask, from) checked_intrinsics::load<__m256i, uint16_t>(mask, from)
#define _mm512_mask_storeu_ps(to, mask, value) \
  checked_intrinsics::store<__m512, float>(to, mask, value)
#define _mm512_mask_storeu_epi8(to, mask, value) \
  checked_intrinsics::store<__m512i, uint8_t>(to, mask, value)
#define _mm256_mask_storeu_epi16(to, mask, value) \
  checked_intrinsics::store<__m256i, uint16_t>(to, mask, value)

#undef _tile_loadd
#define _tile_loadd(tile, base, stride)          \
  do {                                           \
    checked_intrinsics::read_tile(base, stride); \
    _tile_loadd_internal(tile, base, stride);    \
  } while (false)
#undef _tile_stored
#define _tile_stored(tile, base, stride)          \
  do {                                            \
    checked_intrinsics::write_tile(base, stride); \
    _tile_stored_internal(tile, base, stride);    \
  } while (false)
