// The tensors of one launch, brought to the form in which kernels take them.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "bindings/launch.h"

namespace bertfast::bindings {

class KernelTensors {
 public:
  // Where the elements lie, one after another; null where there is no tensor.
  template <typename T = void>
  const T* read(const char* name, const std::optional<torch::stable::Tensor>& tensor) {
    if (!tensor.has_value()) return nullptr;
    all_.push_back({name, torch::stable::contiguous(*tensor)});
    return static_cast<const T*>(all_.back().tensor.const_data_ptr());
  }

  // `tensor` is contiguous.
  template <typename T = void>
  T* write(const char* name, torch::stable::Tensor tensor) {
    all_.push_back({name, std::move(tensor)});
    return static_cast<T*>(all_.back().tensor.mutable_data_ptr());
  }

  const std::vector<NamedTensor>& all() const { return all_; }

  // Whether the host may read what they hold.
  bool are_on_host() const {
    return std::all_of(all_.begin(), all_.end(),
                       [](const NamedTensor& named) { return named.tensor.is_cpu(); });
  }

 private:
  std::vector<NamedTensor> all_;
};

}  // namespace bertfast::bindings
