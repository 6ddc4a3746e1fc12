// The host's 16-bit types against their definition: sign, exponent and fraction, round half to
// even.
#include "emulation/float16.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>

#include "tests/testing.h"

namespace bertfast::testing {
namespace {

template <typename T>
T from_bits(uint16_t bits) {
  T value;
  std::memcpy(static_cast<void*>(&value), &bits, sizeof(bits));
  return value;
}

template <typename T>
uint16_t to_bits(T value) {
  uint16_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

// The value that IEEE 754 gives to a format with this many fraction bits.
template <int kFractionBits>
double define(uint16_t bits) {
  constexpr int kExponentBits = 15 - kFractionBits;
  constexpr int kBias = (1 << (kExponentBits - 1)) - 1;
  const int exponent = bits >> kFractionBits & ((1 << kExponentBits) - 1);
  const double fraction = std::ldexp(bits & ((1 << kFractionBits) - 1), -kFractionBits);
  const double sign = bits >> 15 ? -1.0 : 1.0;
  if (exponent == (1 << kExponentBits) - 1) return fraction == 0.0 ? sign * INFINITY : NAN;
  if (exponent == 0) return sign * std::ldexp(fraction, 1 - kBias);
  return sign * std::ldexp(1.0 + fraction, exponent - kBias);
}

template <typename T, int kFractionBits>
void test_widening() {
  for (int bits = 0; bits < 65536; ++bits) {
    const float got = static_cast<float>(from_bits<T>(bits));
    const double want = define<kFractionBits>(bits);
    expect(got == want || (std::isnan(got) && std::isnan(want)),
           "bits " + std::to_string(bits) + " widen to " + std::to_string(got));
  }
}

template <typename T>
void expect_rounds_to(float value, uint16_t want) {
  const uint16_t got = to_bits(T(value));
  expect(got == want, std::to_string(value) + " rounds to bits " + std::to_string(got) + ", not " +
                          std::to_string(want));
}

// Between each number and the next: themselves, the tie, and the floats on either side of the tie.
template <typename T, int kFractionBits>
void test_rounding() {
  constexpr int kInfinity = 0x7fff & ~((1 << kFractionBits) - 1);
  for (int lower = 0; lower < kInfinity - 1; ++lower) {
    const int upper = lower + 1;
    const double low = define<kFractionBits>(lower), high = define<kFractionBits>(upper);
    const auto tie = static_cast<float>((low + high) / 2);
    expect_rounds_to<T>(static_cast<float>(low), lower);
    expect_rounds_to<T>(tie, lower % 2 == 0 ? lower : upper);
    expect_rounds_to<T>(std::nextafter(tie, 0.0f), lower);
    expect_rounds_to<T>(std::nextafter(tie, INFINITY), upper);
    expect_rounds_to<T>(-tie, 0x8000 | (lower % 2 == 0 ? lower : upper));
  }
  expect_rounds_to<T>(INFINITY, kInfinity);
  expect_rounds_to<T>(-INFINITY, 0x8000 | kInfinity);
  expect_rounds_to<T>(3.4e38f, kInfinity);
  expect_rounds_to<T>(-0.0f, 0x8000);
  expect(std::isnan(static_cast<float>(T(NAN))), "NaN stays NaN");
}

}  // namespace
}  // namespace bertfast::testing

int main() {
  using namespace bertfast::emulation;
  using namespace bertfast::testing;
  return run_tests({
      {"float16 widens", test_widening<Float16, 10>},
      {"bfloat16 widens", test_widening<BFloat16, 7>},
      {"float16 rounds to nearest even", test_rounding<Float16, 10>},
      {"bfloat16 rounds to nearest even", test_rounding<BFloat16, 7>},
  });
}
