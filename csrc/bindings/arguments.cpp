#include "bindings/arguments.h"

#include <algorithm>
#include <stdexcept>

namespace bertfast::bindings {
namespace {

// Python's names of the types; C++ has others.
std::string to_string(ScalarType dtype) {
  switch (dtype) {
    case ScalarType::Float:
      return "torch.float32";
    case ScalarType::Double:
      return "torch.float64";
    case ScalarType::Half:
      return "torch.float16";
    case ScalarType::BFloat16:
      return "torch.bfloat16";
    case ScalarType::Byte:
      return "torch.uint8";
    case ScalarType::Char:
      return "torch.int8";
    case ScalarType::Short:
      return "torch.int16";
    case ScalarType::Int:
      return "torch.int32";
    case ScalarType::Long:
      return "torch.int64";
    case ScalarType::Bool:
      return "torch.bool";
    case ScalarType::ComplexFloat:
      return "torch.complex64";
    case ScalarType::ComplexDouble:
      return "torch.complex128";
    default:
      return std::string("torch's ") + torch::headeronly::toString(dtype);
  }
}

template <typename Items, typename Text>
std::string join(const Items& items, const char* separator, const Text& text) {
  std::string joined;
  for (const auto& item : items) joined += (joined.empty() ? "" : separator) + text(item);
  return joined;
}

}  // namespace

// pybind11 makes a ValueError of this exception; torch's own checks would raise RuntimeError.
void fail(const std::string& name, const std::string& expected, const std::string& got) {
  throw std::invalid_argument(name + ": expected " + expected + ", got " + got);
}

void check_shape(const char* name, const Tensor& tensor, std::initializer_list<Size> expected) {
  const auto sizes = tensor.sizes();
  if (std::equal(expected.begin(), expected.end(), sizes.begin(), sizes.end(),
                 [](const Size& wanted, int64_t size) { return wanted.accepts(size); })) {
    return;
  }
  fail(name, "[" + join(expected, ", ", [](const Size& size) { return size.text(); }) + "]",
       "[" + join(sizes, ", ", [](int64_t size) { return std::to_string(size); }) + "]");
}

void check_dtype(const char* name, const Tensor& tensor,
                 std::initializer_list<ScalarType> allowed) {
  check_dtype(name, tensor.scalar_type(), allowed);
}

void check_dtype(const char* name, ScalarType dtype, std::initializer_list<ScalarType> allowed) {
  if (std::find(allowed.begin(), allowed.end(), dtype) != allowed.end()) return;
  fail(name, join(allowed, " or ", to_string), to_string(dtype));
}

DType check_element_type(const char* name, const Tensor& tensor) {
  return check_element_type(name, tensor.scalar_type());
}

DType check_element_type(const char* name, ScalarType dtype) {
  check_dtype(name, dtype, {ScalarType::Float, ScalarType::Half, ScalarType::BFloat16});
  if (dtype == ScalarType::Float) return DType::kFloat32;
  return dtype == ScalarType::Half ? DType::kFloat16 : DType::kBFloat16;
}

int check_extent(const char* name, const Tensor& tensor, int axis, int largest) {
  const int64_t size = tensor.size(axis);
  if (size <= largest) return static_cast<int>(size);
  fail(name, "at most " + std::to_string(largest) + " along axis " + std::to_string(axis),
       std::to_string(size));
}

}  // namespace bertfast::bindings
