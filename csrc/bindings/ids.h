// Ids as kernels read them: all of one type, of which the tensors of a call may have two.
#pragma once

#include <torch/csrc/stable/ops.h>

#include <optional>

#include "bindings/arguments.h"
#include "bindings/kernel_tensors.h"

namespace bertfast::bindings {

class Ids {
 public:
  // Raises what is no id. `expected` is the shape that each has.
  void check(const char* name, const std::optional<Tensor>& ids,
             std::initializer_list<Size> expected) {
    if (!ids.has_value()) return;
    check_shape(name, *ids, expected);
    check_dtype(name, *ids, {ScalarType::Long, ScalarType::Int});
    if (ids->scalar_type() == ScalarType::Long) dtype_ = IdDType::kInt64;
  }

  // Of all ids that were checked: int64 if one of them is.
  IdDType dtype() const { return dtype_; }

  const void* read(KernelTensors& tensors, const char* name,
                   const std::optional<Tensor>& ids) const {
    if (!ids.has_value() || dtype_ == IdDType::kInt32) return tensors.read(name, ids);
    return tensors.read(name, torch::stable::to(*ids, ScalarType::Long));
  }

 private:
  IdDType dtype_ = IdDType::kInt32;
};

}  // namespace bertfast::bindings
