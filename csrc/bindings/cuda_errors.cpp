#include "bindings/cuda_errors.h"

#include <cuda_runtime_api.h>

#include "bindings/build_config.h"
#include "kernels/limits.h"

namespace bertfast::bindings {
namespace {

std::string dotted(int compute_capability) {
  return std::to_string(compute_capability / 10) + "." + std::to_string(compute_capability % 10);
}

// In the words of bertfast/extension.py, which asks before anything is launched.
std::string no_code(const DeviceName& device) {
  const std::string where = "cuda:" + std::to_string(device.index) + ", " + device.name + " (sm_" +
                            std::to_string(device.compute_capability) + ")";
  const std::string capability = dotted(device.compute_capability);
  if (device.compute_capability < kOldestCapability) {
    return "the kernels need compute capability " + dotted(kOldestCapability) +
           " or later, this is " + capability + ": " + where;
  }
  return "bertfast._C holds no code for " + where + "; it was built for " + kBuildConfig.codes +
         ". Build it again in bertfast's source directory: TORCH_CUDA_ARCH_LIST=" + capability +
         " BERTFAST_CUDA=1 pip install --no-build-isolation --no-deps --force-reinstall .";
}

std::string old_driver() {
  return std::string("the NVIDIA driver is older than CUDA ") + kBuildConfig.nvcc_version +
         ", which bertfast._C was built with. Update the driver, or build it again with the nvcc "
         "of an older CUDA.";
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
