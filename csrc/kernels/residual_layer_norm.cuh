#pragma once

#include "kernels/intrinsics.cuh"
#include "kernels/residual_layer_norm.h"

namespace bertfast {

// How a row is dealt to threads: one warp for a row that fits into it, a block for a longer one.
// Vector i of a thread starts at column(i); neighbouring threads hold neighbouring vectors.
template <int kWidth, int kWarpsPerRow>
struct LayerNormLayout {
  // A thread keeps its part of the row in registers; with more of it, the compiler would spill.
  static constexpr int kValuesPerThread = 32;
  static constexpr int kVectors = kValuesPerThread / kWidth;
  static constexpr int kRowThreads = kWarpsPerRow * kWarpSize;
  static constexpr int kMaxColumns = kRowThreads * kValuesPerThread;
  // Few rows per block: a small batch still reaches many multiprocessors.
  static constexpr int kRowsPerBlock = kWarpsPerRow == 1 ? 2 : 1;
  static constexpr int kBlockThreads = kRowsPerBlock * kRowThreads;
  // Each of the two sums over a row has its own slots, so that the second may be written while
  // some threads still read the first.
  static constexpr size_t kSmemBytes = kWarpsPerRow == 1 ? 0 : 2 * kWarpsPerRow * sizeof(float);

  __device__ static int column(int i) {
    return (i * kRowThreads + static_cast<int>(threadIdx.x) % kRowThreads) * kWidth;
  }
};

// This thread's part of a row, zero beyond the end of the row. Nothing here waits for a load, so
// those of several rows are in flight together.
template <typename Layout, typename T, int kWidth>
__device__ __forceinline__ void load_row(const T* row, int hidden_size,
                                         Vector<T, kWidth> (&vectors)[Layout::kVectors]) {
#pragma unroll
  for (int i = 0; i < Layout::kVectors; ++i) {
    vectors[i] = {};
    if (Layout::column(i) < hidden_size) vectors[i] = load<kWidth>(row + Layout::column(i));
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

// values = (values - mean) / sqrt(variance + eps), over this thread's part of the row.
template <int kWarpsPerRow, int kWidth, int kVectors>
__device__ __forceinline__ void normalize_row(int hidden_size, float eps,
                                              Vector<float, kWidth> (&values)[kVectors]) {
  using Layout = LayerNormLayout<kWidth, kWarpsPerRow>;
  float* slots = shared_memory<float>();
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < kVectors * kWidth; ++i) sum += values[i / kWidth][i % kWidth];
  const float mean = row_sum<kWarpsPerRow>(sum, slots) / hidden_size;

  // A second pass, over registers: E[x^2] - mean^2 loses every digit where the mean is large.
  float squares = 0.0f;
#pragma unroll
  for (int i = 0; i < kVectors * kWidth; ++i) {
    float& value = values[i / kWidth][i % kWidth];
    value = Layout::column(i / kWidth) < hidden_size ? value - mean : 0.0f;
    squares += value * value;
  }
  const float variance = row_sum<kWarpsPerRow>(squares, slots + kWarpsPerRow) / hidden_size;
  const float scale = rsqrt_approx(variance + eps);
#pragma unroll
  for (int i = 0; i < kVectors * kWidth; ++i) values[i / kWidth][i % kWidth] *= scale;
}

// The explicit 1 leaves the compiler every register: by itself it would rather fit in one more
// block, and spill.
template <typename T, int kWidth, int kWarpsPerRow, bool kHasResidual>
__global__ void __launch_bounds__(LayerNormLayout<kWidth, kWarpsPerRow>::kBlockThreads, 1)
    residual_layer_norm_kernel(ResidualLayerNormParams params) {
  using Layout = LayerNormLayout<kWidth, kWarpsPerRow>;
  using RowPart = Vector<T, kWidth>[Layout::kVectors];
  const int64_t row =
      static_cast<int64_t>(blockIdx.x) * Layout::kRowsPerBlock + threadIdx.x / Layout::kRowThreads;
  if (row >= params.num_tokens) return;  // A whole warp or none, so no lane waits in vain.
  const int64_t offset = row * params.hidden_size;

  RowPart x, residual, weight, bias;
  load_row<Layout>(static_cast<const T*>(params.x) + offset, params.hidden_size, x);
  if constexpr (kHasResidual) {
    load_row<Layout>(static_cast<const T*>(params.residual) + offset, params.hidden_size, residual);
  }
  Vector<float, kWidth> values[Layout::kVectors];
#pragma unroll
  for (int i = 0; i < Layout::kVectors; ++i) {
    values[i] = to_float(x[i]);
    if constexpr (kHasResidual) {
      const auto addends = to_float(residual[i]);
#pragma unroll
      for (int j = 0; j < kWidth; ++j) values[i][j] += addends[j];
    }
  }
  // Asked for before the sums over the row, needed after them.
  load_row<Layout>(static_cast<const T*>(params.weight), params.hidden_size, weight);
  load_row<Layout>(static_cast<const T*>(params.bias), params.hidden_size, bias);
  normalize_row<kWarpsPerRow>(params.hidden_size, params.eps, values);

  T* out = static_cast<T*>(params.out) + offset;
#pragma unroll
  for (int i = 0; i < Layout::kVectors; ++i) {
    if (Layout::column(i) >= params.hidden_size) continue;
    const auto scales = to_float(weight[i]), shifts = to_float(bias[i]);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) values[i][j] = fmaf(values[i][j], scales[j], shifts[j]);
    store(out + Layout::column(i), from_float<T>(values[i]));
  }
}

}  // namespace bertfast
