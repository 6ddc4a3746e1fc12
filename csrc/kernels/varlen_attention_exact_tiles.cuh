// Tiles of floats in shared memory for any head size: rows of kMaxHeadSize elements, zero beyond
// the head.
#pragma once

#include "kernels/intrinsics.cuh"

namespace bertfast {

// A thread computes kRowsPerThread queries: their scores with every kColumnThreads-th key, and
// every kColumnThreads-th group of kFloats output columns. The threads of a row are neighbours in a
// warp.
template <int kMaxHeadSize>
struct ExactLayout {
  static constexpr int kThreads = 128;
  static constexpr int kFloats = kVectorBytes / sizeof(float);
  static constexpr int kColumnThreads = 8;
  static constexpr int kRowThreads = kThreads / kColumnThreads;
  static constexpr int kRowsPerThread = kMaxHeadSize <= 128 ? 4 : 2;
  static constexpr int kQueries = kRowThreads * kRowsPerThread;
  static constexpr int kKeys = kMaxHeadSize <= 128 ? 32 : 16;
  static constexpr int kKeysPerThread = kKeys / kColumnThreads;
  static constexpr int kColumnGroups = kMaxHeadSize / kFloats / kColumnThreads;
  // One more vector per row: the same column of eight rows lies in eight different groups of banks.
  static constexpr int kStride = kMaxHeadSize + kFloats;
  static constexpr int kWeightStride = kKeys + kFloats;
  // Keys and values take turns in one tile.
  static constexpr int kSmemFloats = (kQueries + kKeys) * kStride + kQueries * kWeightStride;
  static constexpr size_t kSmemBytes = kSmemFloats * sizeof(float);
  static constexpr int kMinBlocks = kMaxHeadSize <= 64 ? 3 : 2;
  static_assert(kSmemBytes <= 64 << 10, "what a block may have on Turing");
};

// Brings kRows rows of one head to shared memory, those beyond num_rows as zeros. With kIsHeld,
// rows rest in registers from start to finish, and the thread is free meanwhile.
template <typename T, int kMaxHeadSize, int kRows, int kWidth, bool kIsHeld>
class ExactTileCopy {
 public:
  using Layout = ExactLayout<kMaxHeadSize>;

  __device__ __forceinline__ void start(const T* source, int row_stride, int num_rows,
                                        int head_size) {
    source_ = source;
    row_stride_ = row_stride;
    num_rows_ = num_rows;
    head_size_ = head_size;
    if constexpr (kIsHeld) {
#pragma unroll
      for (int i = 0; i < kVectors; ++i) held_[i] = fetch(i);
    }
  }

  __device__ __forceinline__ void finish(float* tile) const {
    if constexpr (kIsHeld) {
#pragma unroll
      for (int i = 0; i < kVectors; ++i) put(tile, i, held_[i]);
    } else {
#pragma unroll 4
      for (int i = 0; i < kVectors; ++i) put(tile, i, fetch(i));
    }
  }

 private:
  static constexpr int kRowVectors = kMaxHeadSize / kWidth;
  static constexpr int kVectors = kRows * kRowVectors / Layout::kThreads;
  static_assert(kRows * kRowVectors % Layout::kThreads == 0);

  __device__ static int index(int i) {
    return i * Layout::kThreads + static_cast<int>(threadIdx.x);
  }
  __device__ static int row(int i) { return index(i) / kRowVectors; }
  __device__ static int column(int i) { return index(i) % kRowVectors * kWidth; }

  __device__ __forceinline__ Vector<T, kWidth> fetch(int i) const {
    Vector<T, kWidth> vector = {};
    if (row(i) < num_rows_ && column(i) < head_size_) {
      vector = load<kWidth>(source_ + row(i) * row_stride_ + column(i));
    }
    return vector;
  }

  __device__ __forceinline__ static void put(float* tile, int i, const Vector<T, kWidth>& vector) {
    constexpr int kStored = kWidth < Layout::kFloats ? kWidth : Layout::kFloats;
    const auto values = to_float(vector);
    float* target = tile + row(i) * Layout::kStride + column(i);
#pragma unroll
    for (int j = 0; j < kWidth; j += kStored) {
      Vector<float, kStored> part;
#pragma unroll
      for (int n = 0; n < kStored; ++n) part[n] = values[j + n];
      store(target + j, part);
    }
  }

  const T* source_;
  int row_stride_, num_rows_, head_size_;
  Vector<T, kWidth> held_[kIsHeld ? kVectors : 1];
};

}  // namespace bertfast
