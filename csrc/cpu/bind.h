// What the files that know Python share: module.cpp and bind_*.cpp.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>

#include "cpu/gelu.h"
#include "kernels/dtype.h"

namespace bertfast::cpu {

// Kernels run without Python's lock.
using Unlocked = pybind11::call_guard<pybind11::gil_scoped_release>;

// What Tensor.data_ptr() gives.
using Address = uintptr_t;

template <typename T>
T* pointer(Address address) {
  return reinterpret_cast<T*>(address);
}

inline DType float_or_bfloat16(bool is_bfloat16) {
  return is_bfloat16 ? DType::kBFloat16 : DType::kFloat32;
}

inline Activation activation_named(const std::string& name) {
  if (name == "erf") return Activation::kErf;
  if (name == "tanh") return Activation::kTanh;
  if (name == "relu") return Activation::kRelu;
  throw pybind11::value_error("activation: expected erf, tanh or relu, got '" + name + "'");
}

void bind_dense(pybind11::module_& module);

}  // namespace bertfast::cpu
