// Ids as kernels take them, for tests.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/dtype.h"
#include "tests/buffer.h"

namespace bertfast::testing {

// The ids of all places, in both types: only the one that is passed may be read.
struct Ids {
  Buffer<int32_t> narrow;
  Buffer<int64_t> wide;

  Ids(emulation::Stream& stream, const std::string& name, int64_t num_places)
      : narrow(stream, name, num_places, 0), wide(stream, name, num_places, 0) {}

  void set(int64_t place, int64_t id) {
    narrow[place] = static_cast<int32_t>(id);
    wide[place] = id;
  }
  const void* data(IdDType dtype) {
    return dtype == IdDType::kInt32 ? static_cast<void*>(narrow.data()) : wide.data();
  }
};

}  // namespace bertfast::testing
