// From what a launcher learns at run time to what a kernel knows at compile time.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "kernels/dtype.h"
#include "kernels/intrinsics.cuh"

namespace bertfast {

inline constexpr int64_t kMaxGridX = 2147483647;
inline constexpr int64_t kMaxGridY = 65535;

// Whether so many blocks are a grid. A size below 0 makes none.
inline bool is_grid(int64_t x, int64_t y = 1) {
  return 0 < x && x <= kMaxGridX && 0 < y && y <= kMaxGridY;
}

// Whether elements can be read at these addresses, null included. A kernel that reads one in
// between ends the process's CUDA context.
inline bool are_aligned(size_t element_bytes, std::initializer_list<const void*> pointers) {
  uintptr_t address_bits = 0;
  for (const void* pointer : pointers) address_bits |= reinterpret_cast<uintptr_t>(pointer);
  return address_bits % element_bytes == 0;
}

// Calls `launch` with a value of the element type. tensors: all that hold elements of it.
template <typename Launch>
cudaError_t dispatch_dtype(DType dtype, std::initializer_list<const void*> tensors,
                           const Launch& launch) {
  const auto launch_aligned = [&](auto element) {
    return are_aligned(sizeof(element), tensors) ? launch(element) : cudaErrorInvalidValue;
  };
  switch (dtype) {
    case DType::kFloat32:
      return launch_aligned(float());
    case DType::kFloat16:
      return launch_aligned(float16());
    case DType::kBFloat16:
      return launch_aligned(bfloat16());
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
  return dividend / divisor + (dividend % divisor > 0);
}

}  // namespace bertfast
