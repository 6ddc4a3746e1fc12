// Buffers of any element type, and how their contents are compared.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "emulation/location.h"
#include "emulation/stream.h"
#include "kernels/dtype.h"

namespace bertfast::testing {

inline constexpr DType kDTypes[] = {DType::kFloat32, DType::kFloat16, DType::kBFloat16};

std::string to_string(DType dtype);

// Half the distance between neighbouring numbers, relative to them: what one rounding may change.
double unit_roundoff(DType dtype);

// `size` elements that kernels on `stream` may touch, and no byte beyond. They start as NaN.
class Tensor {
 public:
  // The data begin `skipped` elements after a 16-byte boundary.
  Tensor(emulation::Stream& stream, const std::string& name, DType dtype, int64_t size,
         int skipped = 0);
  ~Tensor();
  Tensor(const Tensor&) = delete;
  Tensor& operator=(const Tensor&) = delete;

  void* data() { return data_; }
  // Where a tensor of `size` elements would begin that ends with this one.
  void* begin_as_end_of(int64_t size);
  int64_t size() const { return size_; }
  double at(int64_t i) const;
  void set(int64_t i, double value);
  void fill_normal(uint64_t seed, double mean, double deviation);
  std::vector<unsigned char> bytes() const;

 private:
  int64_t num_bytes() const;

  emulation::Stream& stream_;
  DType dtype_;
  int64_t size_;
  std::vector<unsigned char> storage_;
  unsigned char* data_;
};

// Fails the test unless every element lies within one rounding to `dtype` and `float_error`, the
// error of the arithmetic in float, of what is wanted.
void expect_close(const Tensor& got, const std::vector<double>& want, DType dtype,
                  double float_error, const std::string& label,
                  emulation::Location where = emulation::Location::here());

}  // namespace bertfast::testing
