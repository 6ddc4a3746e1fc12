#include "emulation/async_copy.h"

#include <algorithm>
#include <cstring>

#include "emulation/sanitizer.h"

namespace bertfast::emulation {

void AsyncCopies::start_block(int num_threads, unsigned char* shared_memory, size_t smem_bytes) {
  shared_memory_ = shared_memory;
  threads_.assign(num_threads, {});
  num_pending_.assign((smem_bytes + kAsyncCopyBytes - 1) / kAsyncCopyBytes, 0);
  num_copies_ = 0;
}

void AsyncCopies::add(int thread, unsigned char* target, const void* source, Location where) {
  constexpr unsigned char kPoison = 0xff;  // NaN in every floating point type
  if (source != nullptr) observe_read(source, kAsyncCopyBytes);
  observe_write(target, kAsyncCopyBytes);
  std::memset(target, kPoison, kAsyncCopyBytes);
  threads_[thread].copies.push_back({target, source, thread, threads_[thread].num_groups, where});
  ++num_pending_[chunk(target)];
  ++num_copies_;
}

void AsyncCopies::wait(int thread, int num_newest) {
  Thread& self = threads_[thread];
  const auto is_younger = [&](const Copy& copy) {
    return copy.group + num_newest >= self.num_groups;
  };
  const auto younger = std::find_if(self.copies.begin(), self.copies.end(), is_younger);
  for (auto copy = self.copies.begin(); copy != younger; ++copy) {
    observe_write(copy->target, kAsyncCopyBytes);
    if (copy->source == nullptr) {
      std::memset(copy->target, 0, kAsyncCopyBytes);
    } else {
      observe_read(copy->source, kAsyncCopyBytes);
      std::memcpy(copy->target, copy->source, kAsyncCopyBytes);
    }
    --num_pending_[chunk(copy->target)];
    --num_copies_;
  }
  self.copies.erase(self.copies.begin(), younger);
}

const AsyncCopies::Copy* AsyncCopies::find(const void* begin, size_t num_bytes) const {
  if (num_copies_ == 0) return nullptr;
  const auto* last_byte = static_cast<const unsigned char*>(begin) + num_bytes - 1;
  for (size_t i = chunk(begin); i <= chunk(last_byte); ++i) {
    if (num_pending_[i] == 0) continue;
    for (const Thread& thread : threads_) {
      for (const Copy& copy : thread.copies) {
        if (chunk(copy.target) == i) return &copy;
      }
    }
  }
  return nullptr;
}

const AsyncCopies::Copy* AsyncCopies::find(int thread) const {
  const auto& copies = threads_[thread].copies;
  return copies.empty() ? nullptr : &copies.front();
}

size_t AsyncCopies::chunk(const void* address) const {
  return (static_cast<const unsigned char*>(address) - shared_memory_) / kAsyncCopyBytes;
}

}  // namespace bertfast::emulation
