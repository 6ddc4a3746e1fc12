#include <torch/csrc/stable/library.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include "bindings/launch.h"
#include "emulation/stream.h"

namespace bertfast::bindings {
namespace {

// What the launches of the calling thread run on.
struct Device {
  uint64_t schedule_seed = 0;  // see emulation/schedule.h
  int compute_capability = 80;
};
thread_local Device device;

void set_schedule_seed(int64_t seed) { device.schedule_seed = static_cast<uint64_t>(seed); }

void set_compute_capability(int64_t capability) {
  device.compute_capability = static_cast<int>(capability);
}

}  // namespace

int compute_capability(const char*, const torch::stable::Tensor&) {
  return device.compute_capability;
}

void run_on_stream(const char* op, const std::vector<NamedTensor>& tensors,
                   const std::function<cudaError_t(cudaStream_t)>& launcher) {
  emulation::Stream stream;
  stream.schedule_seed = device.schedule_seed;
  for (const auto& [name, tensor] : tensors) {
    stream.memory.add(tensor.data_ptr(), tensor.numel() * tensor.element_size(), name);
  }
  const cudaError_t status = launcher(&stream);
  if (status == cudaSuccess) return;
  const std::string cause =
      stream.error.empty() ? "CUDA error " + std::to_string(status) : stream.error;
  throw std::runtime_error(std::string(op) + ": " + cause);
}

}  // namespace bertfast::bindings

STABLE_TORCH_LIBRARY_FRAGMENT(BERTFAST_LIBRARY, library) {
  library.def("set_schedule_seed(int seed) -> ()");
  library.def("set_compute_capability(int capability) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(BERTFAST_LIBRARY, CompositeExplicitAutograd, library) {
  library.impl("set_schedule_seed", TORCH_BOX(&bertfast::bindings::set_schedule_seed));
  library.impl("set_compute_capability", TORCH_BOX(&bertfast::bindings::set_compute_capability));
}
