// What kernels need from the machine, each with its device and its emulated form side by side. Only
// files called intrinsics*.cuh know which of the two is compiled, and have PTX in them: kernels see
// one language. tests/kernels/test_intrinsics.py holds it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#ifdef BERTFAST_EMULATE
#include "emulation/device.h"
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#endif

namespace bertfast {

inline constexpr int kWarpSize = 32;
inline constexpr int kVectorBytes = 16;  // the widest access of one thread

// ---- What the two worlds call their own --------------------------------------------------------

#ifdef BERTFAST_EMULATE
using float16 = emulation::Float16;
using bfloat16 = emulation::BFloat16;
using emulation::Location;
#else
using float16 = __half;
using bfloat16 = __nv_bfloat16;
// The call site, which errors of the emulation name. The device has no use for it.
struct Location {
  __device__ static constexpr Location here() { return {}; }
};
#endif

// ---- Memory: global and shared -----------------------------------------------------------------

template <typename T, int kWidth>
struct alignas(kWidth * sizeof(T)) Vector {
  T elements[kWidth];

  __device__ __forceinline__ T& operator[](int i) { return elements[i]; }
  __device__ __forceinline__ const T& operator[](int i) const { return elements[i]; }
};

template <int kWidth, typename T>
__device__ __forceinline__ Vector<T, kWidth> load(
    const T* source, [[maybe_unused]] Location where = Location::here()) {
#ifdef BERTFAST_EMULATE
  emulation::check_access(source, kWidth * sizeof(T), where);
#endif
  return *reinterpret_cast<const Vector<T, kWidth>*>(source);
}

template <int kWidth, typename T>
__device__ __forceinline__ void store(T* target, const Vector<T, kWidth>& value,
                                      [[maybe_unused]] Location where = Location::here()) {
#ifdef BERTFAST_EMULATE
  emulation::check_access(target, kWidth * sizeof(T), where);
#endif
  *reinterpret_cast<Vector<T, kWidth>*>(target) = value;
}

// A store to global memory, 16 bytes at once. Of what was loaded from shared memory, nvcc would
// make four stores of `store`, aligned or not.
template <typename T>
__device__ __forceinline__ void store_global(T* target,
                                             const Vector<T, kVectorBytes / sizeof(T)>& value,
                                             [[maybe_unused]] Location where = Location::here()) {
#ifdef BERTFAST_EMULATE
  store(target, value, where);
#else
  __stwb(reinterpret_cast<uint4*>(target), *reinterpret_cast<const uint4*>(&value));
#endif
}

// The shared memory of the block, as large as the launch asked for. Emulated, it starts as NaN.
template <typename T>
__device__ __forceinline__ T* shared_memory() {
#ifdef BERTFAST_EMULATE
  return static_cast<T*>(emulation::shared_memory());
#else
  extern __shared__ __align__(kVectorBytes) unsigned char shared_bytes[];
  return reinterpret_cast<T*>(shared_bytes);
#endif
}

// ---- Conversion and arithmetic -----------------------------------------------------------------

template <typename T, int kWidth>
__device__ __forceinline__ Vector<float, kWidth> to_float(const Vector<T, kWidth>& vector) {
  Vector<float, kWidth> values;
#pragma unroll
  for (int i = 0; i < kWidth; ++i) values[i] = static_cast<float>(vector[i]);
  return values;
}

// Rounds to the nearest, ties to even.
template <typename T>
__device__ __forceinline__ void round_pair(float first, float second, T* out) {
#ifndef BERTFAST_EMULATE
  // One instruction, where two conversions and a merge would take three.
  if constexpr (std::is_same_v<T, float16>) {
    *reinterpret_cast<__half2*>(out) = __floats2half2_rn(first, second);
    return;
  } else if constexpr (std::is_same_v<T, bfloat16>) {
    *reinterpret_cast<__nv_bfloat162*>(out) = __floats2bfloat162_rn(first, second);
    return;
  }
#endif
  out[0] = T(first);
  out[1] = T(second);
}

template <typename T, int kWidth>
__device__ __forceinline__ Vector<T, kWidth> from_float(const Vector<float, kWidth>& values) {
  Vector<T, kWidth> vector;
  if constexpr (kWidth == 1) {
    vector[0] = T(values[0]);
  } else {
#pragma unroll
    for (int i = 0; i < kWidth; i += 2) round_pair(values[i], values[i + 1], &vector[i]);
  }
  return vector;
}

// The largest errors are those that the PTX ISA and the CUDA C++ Programming Guide state.

// Off by at most 2^-22 of the result; exact for 0. A result below 2^-126 is 0.
__device__ __forceinline__ float exp2_approx(float value) {
#ifdef BERTFAST_EMULATE
  return exp2f(value);
#else
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(value));
  return power;
#endif
}

// Off by at most 2 units in the last place for divisors of 2^-126 to 2^126. By a larger one, a
// finite dividend gives 0.
__device__ __forceinline__ float divide_approx(float dividend, float divisor) {
#ifdef BERTFAST_EMULATE
  return dividend / divisor;
#else
  return __fdividef(dividend, divisor);
#endif
}

// Off by at most 2 units in the last place.
__device__ __forceinline__ float rsqrt_approx(float value) {
#ifdef BERTFAST_EMULATE
  return 1.0f / sqrtf(value);
#else
  return rsqrtf(value);
#endif
}

// ---- Threads working together ------------------------------------------------------------------

__device__ __forceinline__ void sync_block([[maybe_unused]] Location where = Location::here()) {
#ifdef BERTFAST_EMULATE
  emulation::block_barrier(where);
#else
  __syncthreads();
#endif
}

// Orders the memory accesses of the lanes of a warp. All 32 take part.
__device__ __forceinline__ void sync_warp([[maybe_unused]] Location where = Location::here()) {
#ifdef BERTFAST_EMULATE
  emulation::warp_barrier(where);
#else
  __syncwarp();
#endif
}

// The value of the lane whose number differs in the bits of `lane_mask`. All 32 lanes take part.
__device__ __forceinline__ float shuffle_xor(float value, int lane_mask,
                                             [[maybe_unused]] Location where = Location::here()) {
#ifdef BERTFAST_EMULATE
  return emulation::exchange_xor(value, lane_mask, where);
#else
  return __shfl_xor_sync(0xffffffffu, value, lane_mask);
#endif
}

// Every lane gets the same bits: the tree of additions is symmetric.
__device__ __forceinline__ float warp_sum(float value, Location where = Location::here()) {
#pragma unroll
  for (int lane_mask = kWarpSize / 2; lane_mask > 0; lane_mask /= 2) {
    value += shuffle_xor(value, lane_mask, where);
  }
  return value;
}

}  // namespace bertfast
