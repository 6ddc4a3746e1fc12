#include "kernels/mask.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>

#include "emulation/float16.h"
#include "tests/tensor.h"
#include "tests/testing.h"

namespace bertfast::testing {
namespace {

bool attends(const MaskTest& test, uint64_t bits) {
  const uint64_t kept = bits & test.kept_bits;
  return kept >= test.first && kept <= test.last;
}

float round_to(DType dtype, float value) {
  if (dtype == DType::kFloat16) return static_cast<float>(emulation::Float16(value));
  if (dtype == DType::kBFloat16) return static_cast<float>(emulation::BFloat16(value));
  return value;
}

// Both readings of an element with these bits and this value. torch rounds a double to float first.
void check(MaskDType dtype, uint64_t bits, double value) {
  const std::string label = "mask dtype " + std::to_string(static_cast<int>(dtype)) + ", " +
                            std::to_string(value) + " (" + std::to_string(bits) + ")";
  for (const DType model_dtype : kDTypes) {
    expect(attends(mask_test(dtype, MaskReading::kNonzero, model_dtype), bits) == (value != 0),
           label + ", not 0");
    const bool is_one = dtype == MaskDType::kBool
                            ? value != 0
                            : round_to(model_dtype, static_cast<float>(value)) == 1;
    expect(attends(mask_test(dtype, MaskReading::kOne, model_dtype), bits) == is_one,
           label + ", 1 in " + to_string(model_dtype));
  }
}

template <typename Half>
void check_all_halves(MaskDType dtype) {
  for (uint32_t i = 0; i <= 0xffff; ++i) {
    const auto bits = static_cast<uint16_t>(i);
    Half half;
    std::memcpy(static_cast<void*>(&half), &bits, sizeof(bits));
    check(dtype, bits, static_cast<float>(half));
  }
}

void test_every_half() {
  check_all_halves<emulation::Float16>(MaskDType::kFloat16);
  check_all_halves<emulation::BFloat16>(MaskDType::kBFloat16);
}

void check_float(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(bits));
  check(MaskDType::kFloat32, bits, value);
}

void test_floats() {
  constexpr uint32_t kOne = 0x3f800000;
  for (uint32_t bits = kOne - 0x9000; bits <= kOne + 0x9000; ++bits) check_float(bits);
  for (uint64_t bits = 0; bits <= 0xffffffff; bits += 65521) {
    check_float(static_cast<uint32_t>(bits));
  }
  for (const uint32_t bits :
       {0x80000000u, 1u, 0x80000001u, 0x7f800000u, 0x7fc00000u, 0xffffffffu}) {
    check_float(bits);
  }
}

void check_double(double value) {
  uint64_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  check(MaskDType::kFloat64, bits, value);
}

void test_doubles() {
  check_double(0.0);
  check_double(-0.0);
  check_double(-1.0);
  check_double(0x1p-1074);
  check_double(INFINITY);
  check_double(NAN);
  // Around 1 and around each half step of a model's dtype from it, as far as float reaches.
  for (const double half_step : {0.0, 0x1p-24, 0x1p-25, 0x1p-11, -0x1p-12, 0x1p-8, -0x1p-9}) {
    for (int i = -4; i <= 4; ++i) {
      for (const double step : {0x1p-52, 0x1p-53, 0x1p-25, 0x1p-26}) {
        check_double(1 + half_step + i * step);
      }
    }
  }
}

void test_integers() {
  for (int value = -128; value < 256; ++value) {
    if (value >= 0) check(MaskDType::kUInt8, value, static_cast<float>(value));
    if (value < 128)
      check(MaskDType::kInt8, static_cast<uint8_t>(value), static_cast<float>(value));
    check(MaskDType::kInt16, static_cast<uint16_t>(value), static_cast<float>(value));
    check(MaskDType::kInt32, static_cast<uint32_t>(value), static_cast<float>(value));
    check(MaskDType::kInt64, static_cast<uint64_t>(int64_t{value}), static_cast<float>(value));
  }
  check(MaskDType::kInt16, 0x100, 256);
  check(MaskDType::kInt16, 0x101, 257);
  check(MaskDType::kBool, 0, 0);
  check(MaskDType::kBool, 1, 1);
  // What is lost where only half of the element is read:
  check(MaskDType::kInt64, uint64_t{1} << 32, 4294967296.0f);
  check(MaskDType::kInt64, (uint64_t{1} << 32) + 1, 4294967296.0f);
}

}  // namespace
}  // namespace bertfast::testing

int main() {
  using namespace bertfast::testing;
  return run_tests({
      {"every half", test_every_half},
      {"floats", test_floats},
      {"doubles", test_doubles},
      {"integers", test_integers},
  });
}
