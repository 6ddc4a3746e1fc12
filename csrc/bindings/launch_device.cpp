#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>

#include <stdexcept>
#include <string>

#include "bindings/arguments.h"
#include "bindings/cuda_errors.h"
#include "bindings/launch.h"

namespace bertfast::bindings {
namespace {

std::string device_text(const Tensor& tensor) {
  return tensor.is_cuda() ? "cuda:" + std::to_string(tensor.get_device_index()) : "another device";
}

void check_on_cuda(const char* name, const Tensor& tensor) {
  if (!tensor.is_cuda()) fail(name, "a tensor on a CUDA device", "another device");
}

// libtorch_cuda has the current stream. Not linked, looked up: the extension has to load into a
// torch built for the CPU, too, and a weak symbol would never bind.
cudaStream_t current_stream(int32_t device_index) {
  using GetStream = AOTITorchError (*)(int32_t, void**);
  static const auto get_stream = [] {
    void* library = dlopen("libtorch_cuda.so", RTLD_LAZY | RTLD_NOLOAD);
    void* symbol =
        library == nullptr ? nullptr : dlsym(library, "aoti_torch_get_current_cuda_stream");
    return reinterpret_cast<GetStream>(symbol);
  }();
  void* stream = nullptr;
  if (get_stream == nullptr || get_stream(device_index, &stream) != AOTI_TORCH_SUCCESS) {
    throw std::runtime_error("torch has no current stream of cuda:" + std::to_string(device_index));
  }
  return static_cast<cudaStream_t>(stream);
}

// Without a check: there is an error to be reported already, and it matters more.
DeviceName device_name(int device_index) {
  cudaDeviceProp properties = {};
  cudaGetDeviceProperties(&properties, device_index);
  return {device_index, properties.name, 10 * properties.major + properties.minor};
}

int attribute(cudaDeviceAttr name, int device_index) {
  int value = 0;
  const cudaError_t status = cudaDeviceGetAttribute(&value, name, device_index);
  if (status != cudaSuccess) throw std::runtime_error(cudaGetErrorString(status));
  return value;
}

}  // namespace

int compute_capability(const char* name, const Tensor& tensor) {
  check_on_cuda(name, tensor);
  const int device_index = tensor.get_device_index();
  return 10 * attribute(cudaDevAttrComputeCapabilityMajor, device_index) +
         attribute(cudaDevAttrComputeCapabilityMinor, device_index);
}

void run_on_stream(const char* op, const std::vector<NamedTensor>& tensors,
                   const std::function<cudaError_t(cudaStream_t)>& launcher) {
  const Tensor& first = tensors.front().tensor;
  check_on_cuda(tensors.front().name, first);
  const int32_t device_index = first.get_device_index();
  for (const auto& [name, tensor] : tensors) {
    if (tensor.is_cuda() && tensor.get_device_index() == device_index) continue;
    fail(name, device_text(first) + ", where " + tensors.front().name + " is", device_text(tensor));
  }
  const torch::stable::accelerator::DeviceGuard guard(device_index);
  const cudaError_t status = launcher(current_stream(device_index));
  if (status == cudaSuccess) return;
  cudaGetLastError();  // or the next launch would report it
  throw std::runtime_error(std::string(op) + ": " + describe(status, device_name(device_index)));
}

}  // namespace bertfast::bindings
