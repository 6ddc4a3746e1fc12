#include "bindings/cuda_errors.h"

#include <cuda_runtime_api.h>

#include "bindings/build_config.h"

namespace bertfast::bindings {
namespace {

constexpr int kOldestCapability = 75;  // what the kernels need, see cuda_build/architectures.py

std::string no_code(const DeviceName& device) {
  const std::string where = "cuda:" + std::to_string(device.index) + ", " + device.name + " (sm_" +
                            std::to_string(device.compute_capability) + ")";
  if (device.compute_capability < kOldestCapability) {
    return where + " is too old: the kernels need sm_75 or later";
  }
  const std::string architecture = std::to_string(device.compute_capability / 10) + "." +
                                   std::to_string(device.compute_capability % 10);
  return "bertfast._C holds no code for " + where + "; it was built for " + kBuildConfig.codes +
         ". Build it again, in bertfast's source directory: BERTFAST_CUDA=1 TORCH_CUDA_ARCH_LIST=" +
         architecture + " pip install --no-build-isolation --no-deps --force-reinstall .";
}

std::string old_driver() {
  return std::string("the NVIDIA driver is older than CUDA ") + kBuildConfig.nvcc_version +
         ", which bertfast._C was built with. Update the driver, or build it again with the nvcc "
         "of "
         "an older CUDA.";
}

}  // namespace

std::string describe(cudaError_t status, const DeviceName& device) {
  const std::string text = cudaGetErrorString(status);
  switch (status) {
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorInvalidDeviceFunction:
      return text + ": " + no_code(device);
    case cudaErrorInsufficientDriver:
    case cudaErrorUnsupportedPtxVersion:
      return text + ": " + old_driver();
    default:
      return text;
  }
}

}  // namespace bertfast::bindings
