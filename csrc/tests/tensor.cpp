#include "tests/tensor.h"

#include <cmath>
#include <cstring>
#include <random>

#include "emulation/float16.h"
#include "tests/testing.h"

namespace bertfast::testing {
namespace {

constexpr uintptr_t kAlignment = 16;

int element_bytes(DType dtype) { return dtype == DType::kFloat32 ? 4 : 2; }

template <typename T>
double read(const unsigned char* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return static_cast<float>(value);
}

template <typename T>
void write(double value, unsigned char* to) {
  const T element(static_cast<float>(value));
  std::memcpy(to, &element, sizeof(T));
}

}  // namespace

std::string to_string(DType dtype) {
  if (dtype == DType::kFloat32) return "float32";
  return dtype == DType::kFloat16 ? "float16" : "bfloat16";
}

double unit_roundoff(DType dtype) {
  if (dtype == DType::kFloat32) return 0x1p-24;
  return dtype == DType::kFloat16 ? 0x1p-11 : 0x1p-8;
}

Tensor::Tensor(emulation::Stream& stream, const std::string& name, DType dtype, int64_t size,
               int skipped)
    : stream_(stream), dtype_(dtype), size_(size) {
  const int64_t skipped_bytes = static_cast<int64_t>(skipped) * element_bytes(dtype);
  storage_.assign(num_bytes() + skipped_bytes + kAlignment, 0xff);
  const auto begin = reinterpret_cast<uintptr_t>(storage_.data());
  data_ = storage_.data() + (kAlignment - begin % kAlignment) % kAlignment + skipped_bytes;
  stream_.memory.add(data_, num_bytes(), name);
}

Tensor::~Tensor() { stream_.memory.remove(data_); }

void* Tensor::begin_as_end_of(int64_t size) {
  const int64_t missing_bytes = (size - size_) * element_bytes(dtype_);
  return reinterpret_cast<void*>(reinterpret_cast<intptr_t>(data_) - missing_bytes);
}

int64_t Tensor::num_bytes() const { return size_ * element_bytes(dtype_); }

double Tensor::at(int64_t i) const {
  const unsigned char* element = data_ + i * element_bytes(dtype_);
  if (dtype_ == DType::kFloat32) return read<float>(element);
  if (dtype_ == DType::kFloat16) return read<emulation::Float16>(element);
  return read<emulation::BFloat16>(element);
}

void Tensor::set(int64_t i, double value) {
  unsigned char* element = data_ + i * element_bytes(dtype_);
  if (dtype_ == DType::kFloat32) return write<float>(value, element);
  if (dtype_ == DType::kFloat16) return write<emulation::Float16>(value, element);
  return write<emulation::BFloat16>(value, element);
}

void Tensor::fill_normal(uint64_t seed, double mean, double deviation) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal(mean, deviation);
  for (int64_t i = 0; i < size_; ++i) set(i, normal(random));
}

std::vector<unsigned char> Tensor::bytes() const { return {data_, data_ + num_bytes()}; }

void expect_close(const Tensor& got, const std::vector<double>& want, DType dtype,
                  double float_error, const std::string& label, emulation::Location where) {
  for (int64_t i = 0; i < got.size(); ++i) {
    // 1.001: the rounding is of the float result, which is itself a little off.
    const double bound = 1.001 * unit_roundoff(dtype) * std::fabs(want[i]) + float_error;
    if (std::fabs(got.at(i) - want[i]) <= bound) continue;  // false for NaN
    expect(false,
           label + ": element " + std::to_string(i) + " is " + std::to_string(got.at(i)) +
               ", not " + std::to_string(want[i]) + " within " + std::to_string(bound),
           where);
  }
}

}  // namespace bertfast::testing
