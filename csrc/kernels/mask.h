// How attention masks are read. bertfast/compat.py says which reading is whose.
#pragma once

#include <cstdint>

#include "kernels/dtype.h"

namespace bertfast {

enum class MaskDType {
  kBool,
  kUInt8,
  kInt8,
  kInt16,
  kInt32,
  kInt64,
  kFloat16,
  kBFloat16,
  kFloat32,
  kFloat64
};

// When a mask attends to a position:
enum class MaskReading {
  kNonzero,  // its element is not 0; NaN is not
  kOne,      // its element, rounded to the model's dtype, is 1
};

// Either is a question to the bits of the element, taken as an unsigned number of its width: are
// the kept ones within first and last? So kernels know widths only, and no types.
struct MaskTest {
  uint64_t kept_bits;
  uint64_t first;
  uint64_t last;
};

inline int mask_bytes(MaskDType dtype) {
  switch (dtype) {
    case MaskDType::kBool:
    case MaskDType::kUInt8:
    case MaskDType::kInt8:
      return 1;
    case MaskDType::kInt16:
    case MaskDType::kFloat16:
    case MaskDType::kBFloat16:
      return 2;
    case MaskDType::kInt32:
    case MaskDType::kFloat32:
      return 4;
    case MaskDType::kInt64:
    case MaskDType::kFloat64:
      return 8;
  }
  return 0;
}

// Stored bits of the significand; 0 for the types that have none.
inline int fraction_bits(MaskDType dtype) {
  if (dtype == MaskDType::kFloat64) return 52;
  if (dtype == MaskDType::kFloat32) return 23;
  if (dtype == MaskDType::kFloat16) return 10;
  return dtype == MaskDType::kBFloat16 ? 7 : 0;
}

inline int fraction_bits(DType dtype) {
  if (dtype == DType::kFloat32) return 23;
  return dtype == DType::kFloat16 ? 10 : 7;
}

// The bits of 1.
inline uint64_t one_bits(MaskDType dtype) {
  switch (dtype) {
    case MaskDType::kFloat64:
      return 0x3ff0000000000000;
    case MaskDType::kFloat32:
      return 0x3f800000;
    case MaskDType::kBFloat16:
      return 0x3f80;
    case MaskDType::kFloat16:
      return 0x3c00;
    default:
      return 1;
  }
}

inline uint64_t half_step(int dropped_bits) {
  return dropped_bits > 0 ? uint64_t{1} << (dropped_bits - 1) : 0;
}

inline MaskTest mask_test(MaskDType dtype, MaskReading reading, DType model_dtype) {
  const uint64_t all_bits = ~uint64_t{0} >> (64 - 8 * mask_bytes(dtype));
  const bool is_float = fraction_bits(dtype) > 0;
  if (reading == MaskReading::kNonzero || dtype == MaskDType::kBool) {
    return {is_float ? all_bits >> 1 : all_bits, 1, all_bits};  // -0.0 is 0, too
  }
  if (!is_float) return {all_bits, one_bits(dtype), one_bits(dtype)};
  // The numbers that round to 1 stand around it: those up to half a step of the model's dtype away,
  // the two at half a step included, since 1 is even. Below 1 both dtypes halve their steps.
  const bool is_double = dtype == MaskDType::kFloat64;
  const int bits = is_double ? fraction_bits(MaskDType::kFloat32) : fraction_bits(dtype);
  uint64_t distance = half_step(bits - fraction_bits(model_dtype));
  if (is_double) {
    // torch rounds it to float32 first, so a little more still reaches the half step.
    const int dropped_bits = fraction_bits(dtype) - bits;
    distance = (distance << dropped_bits) + half_step(dropped_bits);
  }
  return {all_bits, one_bits(dtype) - distance, one_bits(dtype) + distance};
}

}  // namespace bertfast
