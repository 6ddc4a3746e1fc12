// Kernels that show one instruction each: raw fragments in, raw fragments out. One warp. Nothing in
// them is the emulation's, so a device can run them on the same bits.
#pragma once

#include "kernels/intrinsics_tensor_core.cuh"

namespace bertfast::testing {

struct MultiplyProbe {
  const uint32_t* a;  // [32, kDepth / 4]
  const uint32_t* b;  // [32, kDepth / 8]
  float* sums;        // [32, 4], in and out
};

template <typename T, int kDepth>
__global__ void multiply_probe_kernel(MultiplyProbe probe) {
  const int lane = threadIdx.x;
  uint32_t a[kDepth / 4], b[kDepth / 8];
  for (int i = 0; i < kDepth / 4; ++i) a[i] = load<1>(probe.a + lane * (kDepth / 4) + i)[0];
  for (int i = 0; i < kDepth / 8; ++i) b[i] = load<1>(probe.b + lane * (kDepth / 8) + i)[0];
  auto sums = load<4>(probe.sums + lane * 4);
  if constexpr (kDepth == 16) {
    multiply_16x8x16<T>(sums.elements, a, b);
  } else {
    multiply_16x8x8<T>(sums.elements, a, b);
  }
  store(probe.sums + lane * 4, sums);
}

struct LoadProbe {
  const float16* rows;      // [8 * kMatrices, 8]
  const int* smem_offsets;  // [8 * kMatrices], of each row, in elements
  uint32_t* fragments;      // [32, kMatrices]
};

template <bool kTransposed, int kMatrices>
__global__ void load_probe_kernel(LoadProbe probe) {
  const int lane = threadIdx.x;
  const float16* row = shared_memory<float16>();
  if (lane < 8 * kMatrices) {
    row += load<1>(probe.smem_offsets + lane)[0];
    store(const_cast<float16*>(row), load<8>(probe.rows + lane * 8));
  }
  sync_warp();
  uint32_t fragments[kMatrices];
  load_matrices<kTransposed>(fragments, row);
  for (int i = 0; i < kMatrices; ++i) {
    store(probe.fragments + lane * kMatrices + i, Vector<uint32_t, 1>{fragments[i]});
  }
}

}  // namespace bertfast::testing
