// The way of one row through a LayerNorm, for the kernels that end in one.
#pragma once

#include "kernels/dispatch.cuh"
#include "kernels/intrinsics.cuh"
#include "kernels/intrinsics_launch.cuh"
#include "kernels/limits.h"

namespace bertfast {

// How a row is dealt to threads: one warp for a row that fits into it, more for a longer one.
// Vector i of a thread starts at column(i); neighbouring threads hold neighbouring vectors.
template <int kElements, int kWarps>
struct RowLayout {
  static constexpr int kWidth = kElements;
  static constexpr int kWarpsPerRow = kWarps;
  // A thread keeps its part of several rows in registers; with more of it, the compiler would
  // spill. Elements read one by one take a register and a condition each.
  static constexpr int kValuesPerThread = kWidth == 1 ? 16 : 32;
  static constexpr int kVectors = kValuesPerThread / kWidth;
  static constexpr int kRowThreads = kWarpsPerRow * kWarpSize;
  static constexpr int kMaxColumns = kRowThreads * kValuesPerThread;
  // Few rows per block: a small batch still reaches many multiprocessors.
  static constexpr int kRowsPerBlock = kWarpsPerRow == 1 ? 2 : 1;
  static constexpr int kBlockThreads = kRowsPerBlock * kRowThreads;
  // Each of the two sums over a row has its own slots, so that the second may be written while
  // some threads still read the first.
  static constexpr size_t kSmemBytes = kWarpsPerRow == 1 ? 0 : 2 * kWarpsPerRow * sizeof(float);

  __device__ static int64_t row() {
    return static_cast<int64_t>(blockIdx.x) * kRowsPerBlock + threadIdx.x / kRowThreads;
  }
  __device__ static int column(int i) {
    return (i * kRowThreads + static_cast<int>(threadIdx.x) % kRowThreads) * kWidth;
  }
};

// A thread's part of a row.
template <typename T, typename Layout>
using RowPart = Vector<T, Layout::kWidth>[Layout::kVectors];

// Zero beyond the end of the row. Nothing here waits for a load, so those of several rows are in
// flight together.
template <typename Layout, typename T>
__device__ __forceinline__ void load_row(const T* row, int hidden_size,
                                         RowPart<T, Layout>& vectors) {
#pragma unroll
  for (int i = 0; i < Layout::kVectors; ++i) {
    vectors[i] = {};
    if (Layout::column(i) < hidden_size) {
      vectors[i] = load<Layout::kWidth>(row + Layout::column(i));
    }
  }
}

template <typename Layout, typename T>
__device__ __forceinline__ void add_row(const RowPart<T, Layout>& addends,
                                        RowPart<float, Layout>& values) {
#pragma unroll
  for (int i = 0; i < Layout::kVectors; ++i) {
    const auto terms = to_float(addends[i]);
#pragma unroll
    for (int j = 0; j < Layout::kWidth; ++j) values[i][j] += terms[j];
  }
}

// The sum over the threads of a row, the same bits in each of them. `slots` are kWarpsPerRow floats
// of shared memory that no other sum uses.
template <int kWarpsPerRow>
__device__ __forceinline__ float row_sum(float value, [[maybe_unused]] float* slots) {
  value = warp_sum(value);
  if constexpr (kWarpsPerRow > 1) {
    if (threadIdx.x % kWarpSize == 0) {
      store(slots + threadIdx.x / kWarpSize, Vector<float, 1>{value});
    }
    sync_block();
    value = 0.0f;
#pragma unroll
    for (int warp = 0; warp < kWarpsPerRow; ++warp) value += load<1>(slots + warp)[0];
  }
  return value;
}

// values = (values - mean) / sqrt(variance + eps)
template <typename Layout>
__device__ __forceinline__ void normalize_row(int hidden_size, float eps,
                                              RowPart<float, Layout>& values) {
  constexpr int kWidth = Layout::kWidth;
  float* slots = shared_memory<float>();
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < Layout::kValuesPerThread; ++i) sum += values[i / kWidth][i % kWidth];
  const float mean = row_sum<Layout::kWarpsPerRow>(sum, slots) / hidden_size;

  // A second pass, over registers: E[x^2] - mean^2 loses every digit where the mean is large.
  float squares = 0.0f;
#pragma unroll
  for (int i = 0; i < Layout::kValuesPerThread; ++i) {
    float& value = values[i / kWidth][i % kWidth];
    value = Layout::column(i / kWidth) < hidden_size ? value - mean : 0.0f;
    squares += value * value;
  }
  float* other_slots = slots + Layout::kWarpsPerRow;
  const float variance = row_sum<Layout::kWarpsPerRow>(squares, other_slots) / hidden_size;
  const float scale = rsqrt_approx(variance + eps);
#pragma unroll
  for (int i = 0; i < Layout::kValuesPerThread; ++i) values[i / kWidth][i % kWidth] *= scale;
}

// out = LayerNorm(values) * weight + bias. `params` has weight, bias, hidden_size and eps.
template <typename T, typename Layout, typename Params>
__device__ __forceinline__ void layer_norm_row(const Params& params, RowPart<float, Layout>& values,
                                               T* out) {
  RowPart<T, Layout> weight, bias;
  const auto load_weight_and_bias = [&] {
    load_row<Layout>(static_cast<const T*>(params.weight), params.hidden_size, weight);
    load_row<Layout>(static_cast<const T*>(params.bias), params.hidden_size, bias);
  };
  // Asked for before the sums over the row, needed after them: if there are registers to wait in.
  constexpr bool kLoadsEarly = Layout::kWidth > 1;
  if constexpr (kLoadsEarly) load_weight_and_bias();
  normalize_row<Layout>(params.hidden_size, params.eps, values);
  if constexpr (!kLoadsEarly) load_weight_and_bias();
#pragma unroll
  for (int i = 0; i < Layout::kVectors; ++i) {
    if (Layout::column(i) >= params.hidden_size) continue;
    const auto scales = to_float(weight[i]), shifts = to_float(bias[i]);
#pragma unroll
    for (int j = 0; j < Layout::kWidth; ++j) {
      values[i][j] = fmaf(values[i][j], scales[j], shifts[j]);
    }
    store(out + Layout::column(i), from_float<T>(values[i]));
  }
}

// Calls `launch` with the smallest layout that holds a row.
template <typename T, typename Launch>
cudaError_t dispatch_row_layout(int hidden_size, bool is_vectorizable, const Launch& launch) {
  constexpr int kWidth = kVectorBytes / sizeof(T);
  static_assert(RowLayout<kWidth, 8>::kMaxColumns == kMaxHiddenSize);
  static_assert(RowLayout<1, 16>::kMaxColumns == kMaxHiddenSize);
  if (hidden_size <= 0 || hidden_size > kMaxHiddenSize) return cudaErrorInvalidValue;
  // Rows that cannot be read in vectors have to be right, not fast: two layouts do.
  if (!is_vectorizable && hidden_size <= RowLayout<1, 1>::kMaxColumns) {
    return launch(RowLayout<1, 1>());
  }
  if (!is_vectorizable) return launch(RowLayout<1, 16>());
  if (hidden_size <= RowLayout<kWidth, 1>::kMaxColumns) return launch(RowLayout<kWidth, 1>());
  if (hidden_size <= RowLayout<kWidth, 2>::kMaxColumns) return launch(RowLayout<kWidth, 2>());
  if (hidden_size <= RowLayout<kWidth, 4>::kMaxColumns) return launch(RowLayout<kWidth, 4>());
  return launch(RowLayout<kWidth, 8>());
}

template <typename Layout, typename Params>
cudaError_t launch_rows(void (*kernel)(Params), const Params& params, cudaStream_t stream) {
  const int64_t blocks = ceil_divide(params.num_tokens, Layout::kRowsPerBlock);
  if (!is_grid(blocks)) return cudaErrorInvalidValue;
  const dim3 grid(static_cast<unsigned>(blocks));
  return launch_kernel(kernel, {grid, Layout::kBlockThreads, Layout::kSmemBytes}, params, stream);
}

}  // namespace bertfast
