// From what a launcher learns at run time to what a kernel knows at compile time.
#pragma once

#include <cstdint>

#include "kernels/dtype.h"
#include "kernels/intrinsics.cuh"

namespace bertfast {

inline constexpr int64_t kMaxGridX = 2147483647;
inline constexpr int64_t kMaxGridY = 65535;

// Calls `launch` with a value of the element type.
template <typename Launch>
cudaError_t dispatch_dtype(DType dtype, const Launch& launch) {
  switch (dtype) {
    case DType::kFloat32:
      return launch(float());
    case DType::kFloat16:
      return launch(float16());
    case DType::kBFloat16:
      return launch(bfloat16());
  }
  return cudaErrorInvalidValue;
}

// Whether rows of `row_size` elements, packed one after another from each pointer (null counts as
// aligned), can be read in vectors.
template <typename T, typename... Pointers>
bool is_vectorizable(int row_size, const Pointers*... pointers) {
  const uintptr_t address_bits = (reinterpret_cast<uintptr_t>(pointers) | ...);
  return address_bits % kVectorBytes == 0 && row_size * sizeof(T) % kVectorBytes == 0;
}

inline int64_t ceil_divide(int64_t dividend, int64_t divisor) {
  return (dividend + divisor - 1) / divisor;
}

}  // namespace bertfast
