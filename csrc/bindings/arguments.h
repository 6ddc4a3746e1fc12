// Checks of an op's arguments, in the words of bertfast/ops. What does not fit is a ValueError in
// Python that names the argument, what it has to be and what it is.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>

#include "kernels/dtype.h"

namespace bertfast::bindings {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// What an axis must have: a number, or any where a symbol stands for it.
class Size {
 public:
  Size(int64_t number) : number_(number) {}
  Size(const char* symbol) : symbol_(symbol) {}

  bool accepts(int64_t size) const { return symbol_ != nullptr || size == number_; }
  std::string text() const { return symbol_ != nullptr ? symbol_ : std::to_string(number_); }

 private:
  int64_t number_ = 0;
  const char* symbol_ = nullptr;
};

[[noreturn]] void fail(const std::string& name, const std::string& expected,
                       const std::string& got);
void check_shape(const char* name, const Tensor& tensor, std::initializer_list<Size> expected);
void check_dtype(const char* name, ScalarType dtype, std::initializer_list<ScalarType> allowed);
void check_dtype(const char* name, const Tensor& tensor, std::initializer_list<ScalarType> allowed);

// The element type that kernels know `dtype` by.
DType check_element_type(const char* name, ScalarType dtype);
DType check_element_type(const char* name, const Tensor& tensor);

// The size of an axis as an int, which is what kernels take.
int check_extent(const char* name, const Tensor& tensor, int axis, int largest = INT32_MAX);

}  // namespace bertfast::bindings
