// The CUDA that kernels see when a host compiler reads them. Included by kernels/intrinsics.cuh.
#pragma once

#include <driver_types.h>
#include <math.h>  // fabsf and its like, outside of any namespace as in CUDA
#include <vector_types.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "emulation/float16.h"
#include "emulation/location.h"
#include "emulation/multiprocessor.h"
#include "emulation/tensor_core.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

// CUDA's own names. The multiprocessor sets them before it lets a thread go on.
inline thread_local uint3 threadIdx = {};
inline thread_local uint3 blockIdx = {};
inline thread_local dim3 blockDim = {};
inline thread_local dim3 gridDim = {};

namespace bertfast::emulation {

inline void check_access(const void* address, size_t num_bytes, Location where) {
  Multiprocessor::current().check_access(address, num_bytes, where);
}

inline void* shared_memory() { return Multiprocessor::current().shared_memory(); }

inline void block_barrier(Location where) { Multiprocessor::current().sync_block(where); }

inline void warp_barrier(Location where) {
  Multiprocessor::current().warp_collective("sync_warp", nullptr, nullptr, where);
}

struct Exchange {
  float value;
  int source_lane;
  float result;
};

inline void exchange(void* const* lanes) {
  for (int i = 0; i < kLanes; ++i) {
    auto* mine = static_cast<Exchange*>(lanes[i]);
    mine->result = static_cast<Exchange*>(lanes[mine->source_lane])->value;
  }
}

inline float exchange_xor(float value, int lane_mask, Location where) {
  Multiprocessor& multiprocessor = Multiprocessor::current();
  Exchange operand = {value, multiprocessor.lane() ^ lane_mask, NAN};
  multiprocessor.warp_collective("shuffle_xor", exchange, &operand, where);
  return operand.result;
}

struct Vote {
  bool value;
  uint32_t result;
};

inline void count_votes(void* const* lanes) {
  uint32_t result = 0;
  for (int i = 0; i < kLanes; ++i) {
    result |= static_cast<uint32_t>(static_cast<Vote*>(lanes[i])->value) << i;
  }
  for (int i = 0; i < kLanes; ++i) static_cast<Vote*>(lanes[i])->result = result;
}

inline uint32_t ballot(bool vote, Location where) {
  Vote operand = {vote, 0};
  Multiprocessor::current().warp_collective("ballot", count_votes, &operand, where);
  return operand.result;
}

inline void load_matrices(uint32_t* fragments, int num_matrices, bool is_transposed,
                          const void* row, Location where) {
  Multiprocessor& multiprocessor = Multiprocessor::current();
  MatrixLoad load = {{}, reinterpret_cast<uintptr_t>(row), num_matrices, is_transposed, fragments,
                     0};
  if (multiprocessor.lane() < num_matrices * 8) {
    multiprocessor.check_shared_access(row, kMatrixRowBytes, where);
    std::memcpy(load.row, row, kMatrixRowBytes);
  }
  multiprocessor.warp_collective(is_transposed ? "load_matrices_transposed" : "load_matrices",
                                 load_matrices, &load, where);
  multiprocessor.count_bank_conflicts(load.num_conflicts);
}

template <typename T, int kDepth>
void multiply_matrices(float* accumulators, const uint32_t* a, const uint32_t* b, Location where) {
  MatrixMultiply multiply = {accumulators, a, b};
  Multiprocessor::current().warp_collective("multiply_matrices", multiply_matrices<T, kDepth>,
                                            &multiply, where);
}

}  // namespace bertfast::emulation
