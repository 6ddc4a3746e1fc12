// What to do about errors of CUDA that a user meets who did nothing wrong in a call.
#pragma once

#include <driver_types.h>

#include <string>

namespace bertfast::bindings {

struct DeviceName {
  int index;
  std::string name;        // "NVIDIA L4"
  int compute_capability;  // 89 for 8.9
};

// CUDA's text for `status`; if the binary and the device do not go together, what was built for
// what, and how to build it again.
std::string describe(cudaError_t status, const DeviceName& device);

}  // namespace bertfast::bindings
