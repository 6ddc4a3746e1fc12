// Tiles of q, k and v in shared memory: how they lie there, and how they get there.
#pragma once

#include "kernels/intrinsics.cuh"
#include "kernels/intrinsics_async_copy.cuh"
#include "kernels/intrinsics_tensor_core.cuh"

namespace bertfast {

inline constexpr int kChunkElements = 8;  // 16-bit elements of one 16-byte access

// Where a chunk of a row begins, in elements. Chunks change places within 128 bytes, so that the
// same chunk of eight rows, which ldmatrix reads at once, lies in eight different groups of banks.
template <int kHeadSize>
__device__ __forceinline__ unsigned swizzled(unsigned row, unsigned chunk) {
  constexpr unsigned kChunks = kHeadSize / kChunkElements;
  constexpr unsigned kLineChunks = 8;
  constexpr unsigned kRowsPerLine = kChunks < kLineChunks ? kLineChunks / kChunks : 1;
  const unsigned place = chunk ^ (row / kRowsPerLine % (kLineChunks / kRowsPerLine));
  return (row * kChunks + place) * kChunkElements;
}

// Brings rows of one head to shared memory, kRows at once, those beyond num_rows as zeros. Between
// start and finish the thread is free. Since Ampere the copy needs no registers; before, it rests
// in them.
template <typename T, int kHeadSize, int kRows, int kThreads, TensorCores kCores>
class TileCopy {
 public:
  static constexpr bool kIsAsync = kCores != TensorCores::kTuring;

  // `thread` is one of the kThreads that share the work.
  __device__ __forceinline__ TileCopy(const T* source, int row_stride, unsigned thread)
      : source_(source + static_cast<int>(thread / kChunks) * row_stride +
                thread % kChunks * kChunkElements),
        row_stride_(row_stride),
        thread_(thread) {}

  // Rows from `first_row` on.
  __device__ __forceinline__ void start(T* tile, int first_row, int num_rows) {
    const T* from = source_ + static_cast<int64_t>(first_row) * row_stride_;
#pragma unroll
    for (int i = 0; i < kCopies; ++i) {
      const bool is_present = row(i) < num_rows - first_row;
      if constexpr (kIsAsync) {
        copy_async(target(tile, i), from, is_present);
      } else {
        held_[i] = {};
        if (is_present) held_[i] = load<kChunkElements>(from);
      }
      from += kRowsPerCopy * row_stride_;
    }
    if constexpr (kIsAsync) commit_copies();
  }

  // All copies that the thread has started must have arrived, but the newest kNewest. Others see
  // them after the next barrier.
  template <int kNewest>
  __device__ __forceinline__ void finish([[maybe_unused]] T* tile) {
    if constexpr (kIsAsync) {
      wait_for_copies<kNewest>();
    } else {
#pragma unroll
      for (int i = 0; i < kCopies; ++i) store(target(tile, i), held_[i]);
    }
  }

 private:
  static constexpr unsigned kChunks = kHeadSize / kChunkElements;
  static constexpr int kRowsPerCopy = kThreads / kChunks;
  static constexpr int kCopies = kRows / kRowsPerCopy;
  static_assert(kThreads % kChunks == 0 && kRows % kRowsPerCopy == 0);

  __device__ int row(int i) const { return i * kRowsPerCopy + static_cast<int>(thread_ / kChunks); }
  __device__ T* target(T* tile, int i) const {
    return tile + swizzled<kHeadSize>(i * kRowsPerCopy + thread_ / kChunks, thread_ % kChunks);
  }

  const T* source_;
  int row_stride_;
  unsigned thread_;
  Vector<T, kChunkElements> held_[kIsAsync ? 1 : kCopies];
};

}  // namespace bertfast
