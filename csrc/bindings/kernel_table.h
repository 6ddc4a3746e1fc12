// All instances of all kernels, as ptxas reports them: native_build/ writes the definition.
#pragma once

namespace bertfast::bindings {

// Of one instance for one architecture. Dynamic shared memory is the launcher's choice.
struct KernelResources {
  const char* symbol;
  const void* function;  // by which CUDA's runtime knows it
  const char* architecture;
  int registers;          // a thread
  int static_smem_bytes;  // a block
  int stack_bytes;        // a thread
  int spill_bytes;        // stored and loaded, a thread
};

extern const KernelResources kKernelTable[];
extern const int kKernelTableSize;

}  // namespace bertfast::bindings
