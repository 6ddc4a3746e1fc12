// From torch's tensors to a launcher: the device, its current stream, the status.
#pragma once

#include <driver_types.h>
#include <torch/csrc/stable/tensor.h>

#include <functional>
#include <vector>

namespace bertfast::bindings {

struct NamedTensor {
  const char* name;
  torch::stable::Tensor tensor;
};

// The two functions that the device (launch_device.cpp) and the emulation (launch_emulated.cpp)
// have each their own of.

// Of the device that the tensor `name` is on: 80 for 8.0.
int compute_capability(const char* name, const torch::stable::Tensor& tensor);

// Calls `launcher` with the current stream of the device that all of `tensors` are on, and raises
// what went wrong.
void run_on_stream(const char* op, const std::vector<NamedTensor>& tensors,
                   const std::function<cudaError_t(cudaStream_t)>& launcher);

// `tensors` are all that the kernel reads and writes.
template <typename Params>
void launch(const char* op, cudaError_t (*launcher)(const Params&, cudaStream_t),
            const Params& params, const std::vector<NamedTensor>& tensors) {
  run_on_stream(op, tensors, [&](cudaStream_t stream) { return launcher(params, stream); });
}

}  // namespace bertfast::bindings
