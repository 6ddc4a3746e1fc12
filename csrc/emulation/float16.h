// The 16-bit element types, in arithmetic plain enough to run on any host. Conversions from float
// round to the nearest, ties to even, as the device does.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace bertfast::emulation {

class Float16 {
 public:
  Float16() = default;

  explicit Float16(float value) {
    const float magnitude = std::fabs(value);
    if (std::isnan(value)) {
      bits_ = 0x7e00;
    } else if (magnitude >= 65536.0f) {
      bits_ = kInfinity;
    } else {
      const int exponent = magnitude < kSmallestNormal ? -14 : std::ilogb(magnitude);
      const auto steps = static_cast<int>(std::nearbyint(std::ldexp(magnitude, 10 - exponent)));
      // The leading bit of a normal number, 1024 steps, adds the missing 1 to its exponent field,
      // and a carry out of the rounding adds another.
      bits_ = static_cast<uint16_t>(1024 * (exponent + 14) + steps);
    }
    if (std::signbit(value)) bits_ |= 0x8000;
  }

  explicit operator float() const {
    const int exponent = bits_ >> 10 & 31;
    const int fraction = bits_ & 1023;
    float magnitude = std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
    if (exponent == 0) magnitude = std::ldexp(static_cast<float>(fraction), -24);
    if (exponent == 31) magnitude = fraction == 0 ? INFINITY : NAN;
    return bits_ & 0x8000 ? -magnitude : magnitude;
  }

 private:
  static constexpr float kSmallestNormal = 0x1p-14f;
  static constexpr uint16_t kInfinity = 0x7c00;
  uint16_t bits_;
};

// The upper half of a float.
class BFloat16 {
 public:
  BFloat16() = default;

  explicit BFloat16(float value) {
    uint32_t wide_bits;
    std::memcpy(&wide_bits, &value, sizeof(value));
    const uint32_t half_step = 0x7fff + (wide_bits >> 16 & 1);  // a tie rounds up if odd
    bits_ = std::isnan(value) ? 0x7fff : static_cast<uint16_t>((wide_bits + half_step) >> 16);
  }

  explicit operator float() const {
    const uint32_t wide_bits = static_cast<uint32_t>(bits_) << 16;
    float value;
    std::memcpy(&value, &wide_bits, sizeof(value));
    return value;
  }

 private:
  uint16_t bits_;
};

}  // namespace bertfast::emulation
