// Moving rows as they are: only their bytes matter, not their type.
#pragma once

#include "kernels/dispatch.cuh"
#include "kernels/intrinsics.cuh"
#include "kernels/intrinsics_launch.cuh"

namespace bertfast {

inline constexpr int kCopyWarps = 4;  // of a block, a row each
inline constexpr int kCopyThreads = kCopyWarps * kWarpSize;
inline constexpr int kCopyVectors = 4;  // in flight, of one thread

// What a thread moves at once.
template <typename W, int kWords>
struct CopyUnit {
  using Word = W;
  static constexpr int kWidth = kWords;
};

__device__ __forceinline__ int64_t copy_row_index() {
  return static_cast<int64_t>(blockIdx.x) * kCopyWarps + threadIdx.x / kWarpSize;
}

// Row `source_row` of `source` to row `target_row` of `target`, by one warp. A negative source row
// stands for zeros.
template <typename Unit>
__device__ __forceinline__ void copy_row(const void* source, int64_t source_row, void* target,
                                         int64_t target_row, int row_words) {
  using Word = typename Unit::Word;
  constexpr int kWidth = Unit::kWidth;
  const Word* from =
      source_row < 0 ? nullptr : static_cast<const Word*>(source) + source_row * row_words;
  Word* to = static_cast<Word*>(target) + target_row * row_words;
  const int lane = threadIdx.x % kWarpSize;
  for (int first = 0; first < row_words; first += kCopyVectors * kWarpSize * kWidth) {
    Vector<Word, kWidth> vectors[kCopyVectors] = {};
#pragma unroll
    for (int i = 0; i < kCopyVectors; ++i) {
      const int column = first + (i * kWarpSize + lane) * kWidth;
      if (from != nullptr && column < row_words) vectors[i] = load<kWidth>(from + column);
    }
#pragma unroll
    for (int i = 0; i < kCopyVectors; ++i) {
      const int column = first + (i * kWarpSize + lane) * kWidth;
      if (column < row_words) store(to + column, vectors[i]);
    }
  }
}

inline int element_bytes(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return 4;
    case DType::kFloat16:
    case DType::kBFloat16:
      return 2;
  }
  return 0;
}

// Calls `launch` with the widest unit that rows of `row_bytes` at these addresses consist of.
template <typename Launch>
cudaError_t dispatch_copy_unit(int64_t row_bytes, const void* source, const void* target,
                               const Launch& launch) {
  const uint64_t all_bits = reinterpret_cast<uintptr_t>(source) |
                            reinterpret_cast<uintptr_t>(target) | static_cast<uint64_t>(row_bytes);
  if (row_bytes <= 0 || row_bytes > INT32_MAX || all_bits % sizeof(uint16_t) != 0) {
    return cudaErrorInvalidValue;
  }
  if (all_bits % kVectorBytes == 0) return launch(CopyUnit<uint32_t, 4>());
  if (all_bits % sizeof(uint32_t) == 0) return launch(CopyUnit<uint32_t, 1>());
  return launch(CopyUnit<uint16_t, 1>());
}

template <typename Params>
cudaError_t launch_copy(void (*kernel)(Params), int64_t num_rows, const Params& params,
                        cudaStream_t stream) {
  const int64_t blocks = ceil_divide(num_rows, kCopyWarps);
  if (!is_grid(blocks)) return cudaErrorInvalidValue;
  return launch_kernel(kernel, {dim3(static_cast<unsigned>(blocks)), kCopyThreads}, params, stream);
}

}  // namespace bertfast
