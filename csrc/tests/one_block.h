// Small kernels run on one block of two warps, with a buffer to read and one to write.
#pragma once

#include <string>

#include "kernels/intrinsics.cuh"
#include "kernels/intrinsics_launch.cuh"
#include "tests/tensor.h"
#include "tests/testing.h"

namespace bertfast::testing {

inline constexpr int kThreads = 2 * kWarpSize;

struct Buffers {
  float* in;   // [kThreads]
  float* out;  // [kThreads]
};

struct OneBlock {
  emulation::Stream stream;
  Tensor in{stream, "in", DType::kFloat32, kThreads};
  Tensor out{stream, "out", DType::kFloat32, kThreads};

  explicit OneBlock(uint64_t schedule_seed = 0) {
    stream.schedule_seed = schedule_seed;
    for (int i = 0; i < kThreads; ++i) in.set(i, i);
  }

  // The error of the launch, empty if there is none.
  std::string run(void (*kernel)(Buffers)) {
    stream.error.clear();
    const LaunchShape shape = {dim3(1), kThreads, kThreads * sizeof(float)};
    const Buffers buffers = {static_cast<float*>(in.data()), static_cast<float*>(out.data())};
    const cudaError_t status = launch_kernel(kernel, shape, buffers, &stream);
    expect((status == cudaSuccess) == stream.error.empty(), "status and error disagree");
    return stream.error;
  }

  void expect_runs(void (*kernel)(Buffers), Location where = Location::here()) {
    const std::string error = run(kernel);
    expect(error.empty(), error, where);
  }
};

}  // namespace bertfast::testing
