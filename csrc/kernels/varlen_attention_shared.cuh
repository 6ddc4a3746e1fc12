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

// Brings kRows rows of one head to shared memory, those beyond num_rows as zeros. Between start and
// finish the thread is free. Since Ampere the copy needs no registers; before, it rests in them.
template <typename T, int kHeadSize, int kRows, int kThreads, TensorCores kCores>
class TileCopy {
 public:
  static constexpr bool kIsAsync = kCores != TensorCores::kTuring;

  __device__ __forceinline__ void start(T* tile, const T* source, int row_stride, int num_rows,
                                        unsigned thread) {
#pragma unroll
    for (int i = 0; i < kCopies; ++i) {
      const int row = row_of(i, thread);
      const unsigned chunk = thread % kChunks;
      const T* from = source + row * row_stride + chunk * kChunkElements;
      if constexpr (kIsAsync) {
        copy_async(tile + swizzled<kHeadSize>(row, chunk), from, row < num_rows);
      } else {
        held_[i] = {};
        if (row < num_rows) held_[i] = load<kChunkElements>(from);
      }
    }
    if constexpr (kIsAsync) commit_copies();
  }

  // All copies that the thread has started must have arrived, but the newest kNewest. Others see
  // them after the next barrier.
  template <int kNewest>
  __device__ __forceinline__ void finish([[maybe_unused]] T* tile,
                                         [[maybe_unused]] unsigned thread) {
    if constexpr (kIsAsync) {
      wait_for_copies<kNewest>();
    } else {
#pragma unroll
      for (int i = 0; i < kCopies; ++i) {
        store(tile + swizzled<kHeadSize>(row_of(i, thread), thread % kChunks), held_[i]);
      }
    }
  }

 private:
  static constexpr unsigned kChunks = kHeadSize / kChunkElements;
  static constexpr int kCopies = kRows * kChunks / kThreads;
  static_assert(kThreads % kChunks == 0 && kRows * kChunks % kThreads == 0);

  __device__ static int row_of(int i, unsigned thread) {
    return static_cast<int>(i * (kThreads / kChunks) + thread / kChunks);
  }

  Vector<T, kChunkElements> held_[kIsAsync ? 1 : kCopies];
};

}  // namespace bertfast
