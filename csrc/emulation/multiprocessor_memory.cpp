// What a multiprocessor does about memory: every access has to lie in a buffer or in shared memory,
// aligned, and not on the destination of an asynchronous copy.
#include "emulation/multiprocessor.h"

namespace bertfast::emulation {

void Multiprocessor::check_access(const void* address, size_t num_bytes, Location where) const {
  if (reinterpret_cast<uintptr_t>(address) % num_bytes != 0) {
    fail("misaligned access to " + std::to_string(num_bytes) + " bytes at " +
             stream_->memory.describe(address),
         where);
  }
  if (is_shared(address, num_bytes)) return check_copies(address, num_bytes, where);
  if (stream_->memory.is_empty() || stream_->memory.contains(address, num_bytes)) return;
  fail("out of bounds: " + std::to_string(num_bytes) + " bytes at " +
           stream_->memory.describe(address),
       where);
}

bool Multiprocessor::is_shared(const void* address, size_t num_bytes) const {
  const auto* begin = static_cast<const unsigned char*>(address);
  const std::vector<unsigned char>& shared = block_->shared_memory;
  return begin >= shared.data() && begin + num_bytes <= shared.data() + shared.size();
}

void Multiprocessor::check_copies(const void* address, size_t num_bytes, Location where) const {
  const AsyncCopies::Copy* copy = copies_.find(address, num_bytes);
  if (copy == nullptr) return;
  fail("touches the destination of an async copy that thread " + std::to_string(copy->thread) +
           " asked for at " + to_string(copy->where) + " and has not waited for",
       where);
}

void Multiprocessor::check_shared_access(const void* address, size_t num_bytes,
                                         Location where) const {
  check_access(address, num_bytes, where);
  if (is_shared(address, num_bytes)) return;
  fail("not in shared memory: " + std::to_string(num_bytes) + " bytes at " +
           stream_->memory.describe(address),
       where);
}

void Multiprocessor::copy_async(void* shared_target, const void* source, Location where) {
  check_shared_access(shared_target, kAsyncCopyBytes, where);
  if (source != nullptr) check_access(source, kAsyncCopyBytes, where);
  copies_.add(running_, static_cast<unsigned char*>(shared_target), source, where);
}

}  // namespace bertfast::emulation
