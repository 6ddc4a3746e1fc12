#pragma once

#include "kernels/bias_gelu.h"
#include "kernels/intrinsics.cuh"

namespace bertfast {

inline constexpr int kBiasGeluThreads = 128;
// The bias is loaded once for both rows, and the loads of both are in flight together.
inline constexpr int kBiasGeluRows = 2;

// x * Phi(x), Phi the normal distribution, as max(x, 0) - |x| * Q(|x|) with Q(t) = Phi(-t). Nothing
// cancels, so the left tail keeps the digits that 1 + erf(x) loses, at half the cost of erff.
__device__ __forceinline__ float gelu_erf(float x) {
  // log2 Q(t): minimax on [0, 6] for the error of t * Q(t), and falling ever faster beyond.
  constexpr float kLog2Tail[] = {-1.0f,          -1.1511063f,     -0.45919919f,    -0.052519726f,
                                 0.0070794055f,  -0.00011941282f, -0.00021813884f, 5.7799489e-05f,
                                 -7.679694e-06f, 5.4776586e-07f,  -1.6622065e-08f};
  constexpr int kDegree = 10;
  const float t = fminf(fabsf(x), 16.0f);  // Q(16) is 0 in float
  float log2_tail = kLog2Tail[kDegree];
#pragma unroll
  for (int i = kDegree - 1; i >= 0; --i) log2_tail = fmaf(log2_tail, t, kLog2Tail[i]);
  const float positive_part = x < 0.0f ? 0.0f : x;  // NaN stays NaN
  // -t, but x where x is negative: -infinity becomes NaN, as in PyTorch, and infinity does not.
  return fmaf(fminf(x, -t), exp2_approx(log2_tail), positive_part);
}

// x * sigmoid(2u) with u = sqrt(2 / pi) * (x + 0.044715 x^3), which equals 0.5 x (1 + tanh(u)).
__device__ __forceinline__ float gelu_tanh(float x) {
  constexpr float kLinear = 2.3022082f;  // 2 * sqrt(2 / pi) * log2(e)
  constexpr float kCubic = 0.10294324f;  // 0.044715 times that
  const float exponent = -x * fmaf(kCubic, x * x, kLinear);
  return divide_approx(x, 1.0f + exp2_approx(exponent));
}

template <Activation kActivation>
__device__ __forceinline__ float activate(float x) {
  if constexpr (kActivation == Activation::kErf) return gelu_erf(x);
  if constexpr (kActivation == Activation::kTanh) return gelu_tanh(x);
  if constexpr (kActivation == Activation::kRelu) return x < 0.0f ? 0.0f : x;  // NaN stays NaN
}

// A thread owns kWidth columns of kBiasGeluRows rows. Rows run along grid.x, the axis without a
// practical limit.
template <typename T, Activation kActivation, int kWidth>
__global__ void __launch_bounds__(kBiasGeluThreads) bias_gelu_kernel(BiasGeluParams params) {
  const int column = static_cast<int>(blockIdx.y * kBiasGeluThreads + threadIdx.x) * kWidth;
  if (column >= params.inner_size) return;
  const int64_t first_row = static_cast<int64_t>(blockIdx.x) * kBiasGeluRows;
  const int64_t offset = first_row * params.inner_size + column;
  const T* x = static_cast<const T*>(params.x) + offset;
  T* out = static_cast<T*>(params.out) + offset;

  Vector<T, kWidth> inputs[kBiasGeluRows] = {};
#pragma unroll
  for (int i = 0; i < kBiasGeluRows; ++i) {
    if (first_row + i < params.num_tokens) inputs[i] = load<kWidth>(x + i * params.inner_size);
  }
  const auto bias = to_float(load<kWidth>(static_cast<const T*>(params.bias) + column));
#pragma unroll
  for (int i = 0; i < kBiasGeluRows; ++i) {
    if (first_row + i >= params.num_tokens) return;
    auto values = to_float(inputs[i]);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) values[j] = activate<kActivation>(values[j] + bias[j]);
    store(out + i * params.inner_size, from_float<T>(values));
  }
}

}  // namespace bertfast
