// Matrices of 16-bit elements held by a warp, and their products. Element (i, j) of a fragment of
// 8 x 8 is in lane 4 * i + j / 2, the even j in the lower half of its 32 bits.
#pragma once

#include "kernels/intrinsics.cuh"

namespace bertfast {

// The generations that a kernel has to be written for: kTuring (compute capability 7.5) multiplies
// at half the depth, float16 only, and has no asynchronous copies.
enum class TensorCores { kTuring, kAmpere };

// Whether the code that is being compiled is for devices that run kernels written for kCores: those
// of Ampere also on anything newer.
template <TensorCores kCores>
__device__ constexpr bool is_compiled_for() {
#ifdef __CUDA_ARCH__
  return (__CUDA_ARCH__ < 800) == (kCores == TensorCores::kTuring);
#else
  return true;
#endif
}

// What stands in a kernel for devices that it is not written for.
__device__ __forceinline__ void trap() {
#ifdef __CUDA_ARCH__
  __trap();
#endif
}

// Two elements as one register of a fragment. Rounds to the nearest, ties to even.
template <typename T>
__device__ __forceinline__ uint32_t pack_pair(float first, float second) {
  Vector<T, 2> pair;
  round_pair(first, second, pair.elements);
#ifdef BERTFAST_EMULATE
  uint32_t bits;
  memcpy(&bits, &pair, sizeof(bits));
  return bits;
#else
  return *reinterpret_cast<const uint32_t*>(&pair);
#endif
}

// Loads kMatrices fragments from shared memory. Lane i names row i % 8 of matrix i / 8: 16 bytes,
// aligned. Lanes beyond the last matrix name nothing that is read. kTransposed exchanges i and j.
template <bool kTransposed, int kMatrices, typename T>
__device__ __forceinline__ void load_matrices(uint32_t (&fragments)[kMatrices], const T* row,
                                              [[maybe_unused]] Location where = Location::here()) {
  static_assert(sizeof(T) == 2 && (kMatrices == 2 || kMatrices == 4));
#ifdef BERTFAST_EMULATE
  emulation::load_matrices(fragments, kMatrices, kTransposed, row, where);
#else
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  if constexpr (kMatrices == 4 && kTransposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(fragments[0]), "=r"(fragments[1]), "=r"(fragments[2]), "=r"(fragments[3])
                 : "r"(address)
                 : "memory");
  } else if constexpr (kMatrices == 4) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(fragments[0]), "=r"(fragments[1]), "=r"(fragments[2]), "=r"(fragments[3])
                 : "r"(address)
                 : "memory");
  } else if constexpr (kTransposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(fragments[0]), "=r"(fragments[1])
                 : "r"(address)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(fragments[0]), "=r"(fragments[1])
                 : "r"(address)
                 : "memory");
  }
#endif
}

// sums += a * b, float: a is 16 x 16, its fragments (top, left), (bottom, left), (top, right),
// (bottom, right); b is 16 x 8, its fragments, transposed, top and bottom; sums[0..1] are the top
// 8 x 8, sums[2..3] the bottom. Compute capability 8.0 and newer.
template <typename T>
__device__ __forceinline__ void multiply_16x8x16(
    float (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
    [[maybe_unused]] Location where = Location::here()) {
#ifdef BERTFAST_EMULATE
  emulation::multiply_matrices<T, 16>(sums, a, b, where);
#else
  if constexpr (std::is_same_v<T, float16>) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  } else {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
#endif
}

// The same with a of 16 x 8, top and bottom, and b of 8 x 8. Compute capability 7.5, float16 only.
template <typename T>
__device__ __forceinline__ void multiply_16x8x8(
    float (&sums)[4], const uint32_t (&a)[2], const uint32_t (&b)[1],
    [[maybe_unused]] Location where = Location::here()) {
  static_assert(std::is_same_v<T, float16>);
#ifdef BERTFAST_EMULATE
  emulation::multiply_matrices<T, 8>(sums, a, b, where);
#else
  asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 "
      "{%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(b[0]));
#endif
}

}  // namespace bertfast
