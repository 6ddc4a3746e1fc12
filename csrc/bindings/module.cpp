// bertfast._C as a Python module: what was built. The ops register themselves, see <op>.cpp.
#include <cuda_runtime_api.h>
#include <cxxabi.h>
#include <pybind11/pybind11.h>

#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>

#include "bindings/build_config.h"
#include "bindings/cuda_errors.h"
#include "bindings/kernel_table.h"

namespace py = pybind11;

namespace bertfast::bindings {
namespace {

std::string demangle(const char* symbol) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> name(
      abi::__cxa_demangle(symbol, nullptr, nullptr, &status), &std::free);
  return status == 0 ? name.get() : symbol;
}

py::dict build_info() {
  py::list sass, ptx;
  for (const py::handle code : py::str(kBuildConfig.codes).attr("split")()) {
    (code.cast<std::string>().rfind("sm_", 0) == 0 ? sass : ptx).append(code);
  }
  py::dict info;
  info["bertfast"] = kBuildConfig.bertfast_version;
  info["nvcc"] = kBuildConfig.nvcc_version;
  info["host_compiler"] = kBuildConfig.host_compiler;
  info["torch_headers"] = kBuildConfig.torch_version;
  info["torch_stable_abi"] = kBuildConfig.torch_stable_abi;
  info["sass"] = sass;
  info["ptx"] = ptx;
  return info;
}

py::list kernels() {
  py::list rows;
  for (int i = 0; i < kKernelTableSize; ++i) {
    const KernelResources& kernel = kKernelTable[i];
    py::dict row;
    row["kernel"] = demangle(kernel.symbol);
    row["architecture"] = kernel.architecture;
    row["registers"] = kernel.registers;
    row["static_smem_bytes"] = kernel.static_smem_bytes;
    row["stack_bytes"] = kernel.stack_bytes;
    row["spill_bytes"] = kernel.spill_bytes;
    rows.append(row);
  }
  return rows;
}

const void* find_kernel(const std::string& name) {
  for (int i = 0; i < kKernelTableSize; ++i) {
    if (demangle(kKernelTable[i].symbol) == name) return kKernelTable[i].function;
  }
  throw std::invalid_argument("kernel: expected a name that kernels() lists, got '" + name + "'");
}

void check(cudaError_t status) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // or the next launch would report it
  throw std::runtime_error(std::string("CUDA: ") + cudaGetErrorString(status));
}

// As the current device has it: of the code that its driver chose, compiled from PTX or not.
py::dict kernel_attributes(const std::string& name) {
  cudaFuncAttributes attributes = {};
  check(cudaFuncGetAttributes(&attributes, find_kernel(name)));
  py::dict row;
  row["registers"] = attributes.numRegs;
  row["static_smem_bytes"] = attributes.sharedSizeBytes;
  row["local_bytes"] = attributes.localSizeBytes;
  row["max_threads"] = attributes.maxThreadsPerBlock;
  row["compiled_for"] = attributes.binaryVersion;
  row["ptx_version"] = attributes.ptxVersion;
  return row;
}

int blocks_per_multiprocessor(const std::string& name, int threads, size_t smem_bytes) {
  const void* kernel = find_kernel(name);
  int blocks = 0;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(smem_bytes)));
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, threads, smem_bytes));
  return blocks;
}

std::string describe_status(int status, const std::string& device, int compute_capability) {
  return describe(static_cast<cudaError_t>(status), {0, device, compute_capability});
}

}  // namespace
}  // namespace bertfast::bindings

PYBIND11_MODULE(_C, module) {
  namespace bindings = bertfast::bindings;
  module.def("build_info", &bindings::build_info, "Versions, and architectures by name.");
  module.def("kernels", &bindings::kernels, "What each kernel needs on each architecture.");
  module.def("kernel_attributes", &bindings::kernel_attributes, py::arg("kernel"),
             "What the current CUDA device says of a kernel. RuntimeError without a device.");
  module.def("blocks_per_multiprocessor", &bindings::blocks_per_multiprocessor, py::arg("kernel"),
             py::arg("threads"), py::arg("smem_bytes") = 0,
             "Blocks of so many threads, with so much dynamic shared memory each, that are on a "
             "multiprocessor of the current CUDA device at a time. RuntimeError without a device.");
  module.def("_describe_status", &bindings::describe_status, py::arg("status"), py::arg("device"),
             py::arg("compute_capability"), "The text of an error that cuda:0 would raise.");
}
