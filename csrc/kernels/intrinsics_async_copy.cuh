// Copies from global to shared memory that go on while the thread does. Compute capability 8.0 and
// newer only, hence templates: what an older device's build does not call, it does not compile.
#pragma once

#include "kernels/intrinsics.cuh"

namespace bertfast {

// Starts to copy 16 bytes, or to write 16 zero bytes where they are absent; the source is not read
// then. Nobody may touch the target before this thread has waited, and no other thread before a
// barrier after that.
template <typename T>
__device__ __forceinline__ void copy_async(T* shared_target, const T* source, bool is_present,
                                           [[maybe_unused]] Location where = Location::here()) {
#ifdef BERTFAST_EMULATE
  const void* present_source = is_present ? source : nullptr;
  emulation::Multiprocessor::current().copy_async(shared_target, present_source, where);
#else
  // .cg leaves out the first-level cache: no byte is read twice by one multiprocessor.
  const auto target = static_cast<unsigned>(__cvta_generic_to_shared(shared_target));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(target), "l"(source),
               "r"(is_present ? kVectorBytes : 0)
               : "memory");
#endif
}

// Ends a group: the copies that this thread has started since the last one.
template <typename = void>
__device__ __forceinline__ void commit_copies() {
#ifdef BERTFAST_EMULATE
  emulation::Multiprocessor::current().commit_copies();
#else
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits for this thread's groups but the newest kNewest.
template <int kNewest>
__device__ __forceinline__ void wait_for_copies() {
#ifdef BERTFAST_EMULATE
  emulation::Multiprocessor::current().wait_for_copies(kNewest);
#else
  asm volatile("cp.async.wait_group %0;" ::"n"(kNewest) : "memory");
#endif
}

}  // namespace bertfast
