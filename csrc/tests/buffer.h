#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "emulation/stream.h"

namespace bertfast::testing {

// `size` numbers that kernels on `stream` may touch, and no byte beyond. For ids, offsets and
// flags; tensors of the model's own element type are Tensor.
template <typename T>
class Buffer {
 public:
  Buffer(emulation::Stream& stream, const std::string& name, int64_t size, T value)
      : stream_(stream), values_(size, value) {
    stream_.memory.add(values_.data(), size * sizeof(T), name);
  }
  ~Buffer() { stream_.memory.remove(values_.data()); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  T* data() { return values_.data(); }
  int64_t size() const { return static_cast<int64_t>(values_.size()); }
  T& operator[](int64_t i) { return values_[i]; }
  const T& operator[](int64_t i) const { return values_[i]; }
  const std::vector<T>& values() const { return values_; }

 private:
  emulation::Stream& stream_;
  std::vector<T> values_;
};

}  // namespace bertfast::testing
