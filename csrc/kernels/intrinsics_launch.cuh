// How the host starts a kernel.
#pragma once

#include "kernels/intrinsics.cuh"

namespace bertfast {

struct LaunchShape {
  dim3 grid;
  int block_threads;
  size_t smem_bytes = 0;
};

inline constexpr size_t kDefaultSmemBytes = 48 << 10;  // more has to be asked for

template <typename Params>
cudaError_t launch_kernel(void (*kernel)(Params), const LaunchShape& shape, const Params& params,
                          cudaStream_t stream) {
#ifdef BERTFAST_EMULATE
  return emulation::launch(
      {shape.grid, dim3(shape.block_threads), shape.smem_bytes, [&] { kernel(params); },
       reinterpret_cast<const void*>(kernel), &params, sizeof(params)},
      stream);
#else
  if (shape.smem_bytes > kDefaultSmemBytes) {
    const cudaError_t status = cudaFuncSetAttribute(
        kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shape.smem_bytes));
    if (status != cudaSuccess) return status;
  }
  cudaLaunchConfig_t config = {};
  config.gridDim = shape.grid;
  config.blockDim = dim3(shape.block_threads);
  config.dynamicSmemBytes = shape.smem_bytes;
  config.stream = stream;
  return cudaLaunchKernelEx(&config, kernel, params);
#endif
}

}  // namespace bertfast
