// The 16-bit element types, in arithmetic plain enough to run on any host. Conversions from float
// round to the nearest, ties to even, as the device does. They are most of the time of an emulated
// tensor core, hence the care for speed.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace bertfast::emulation {

inline uint32_t float_to_bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(value));
  return bits;
}

inline float bits_to_float(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

class Float16 {
 public:
  Float16() = default;

  explicit Float16(float value) {
    const uint32_t sign = float_to_bits(value) >> 16 & 0x8000;
    const float magnitude = std::fabs(value);
    uint32_t bits;
    if (std::isnan(value)) {
      bits = 0x7e00;
    } else if (magnitude >= 65536.0f) {
      bits = kInfinity;
    } else if (magnitude < 0x1p-14f) {
      // The steps of a subnormal number are those of a float around a half: the sum rounds to them.
      bits = float_to_bits(magnitude + 0.5f) - float_to_bits(0.5f);
    } else {
      // A carry out of the rounding adds 1 to the exponent, up to infinity.
      const uint32_t wide = float_to_bits(magnitude);
      bits = (wide + 0xfff + (wide >> 13 & 1) - (kBiasDifference << 23)) >> 13;
    }
    bits_ = static_cast<uint16_t>(sign | bits);
  }

  explicit operator float() const {
    // In the place of a float's, exponent and fraction are those of a number 2^112 times too small.
    const float magnitude = bits_to_float((bits_ & 0x7fffu) << 13) * 0x1p112f;
    const bool is_finite = (bits_ & kInfinity) != kInfinity;
    const float special = (bits_ & 0x3ff) == 0 ? INFINITY : NAN;
    const float value = is_finite ? magnitude : special;
    return bits_ & 0x8000 ? -value : value;
  }

 private:
  static constexpr uint32_t kBiasDifference = 127 - 15;
  static constexpr uint16_t kInfinity = 0x7c00;
  uint16_t bits_;
};

// The upper half of a float.
class BFloat16 {
 public:
  BFloat16() = default;

  explicit BFloat16(float value) {
    const uint32_t wide = float_to_bits(value);
    const uint32_t half_step = 0x7fff + (wide >> 16 & 1);  // a tie rounds up if odd
    bits_ = std::isnan(value) ? 0x7fff : static_cast<uint16_t>((wide + half_step) >> 16);
  }

  explicit operator float() const { return bits_to_float(static_cast<uint32_t>(bits_) << 16); }

 private:
  uint16_t bits_;
};

}  // namespace bertfast::emulation
