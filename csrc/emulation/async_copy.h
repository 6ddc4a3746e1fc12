#pragma once

#include <cstddef>
#include <vector>

#include "emulation/location.h"

namespace bertfast::emulation {

inline constexpr int kAsyncCopyBytes = 16;

// The copies to shared memory that threads have asked for and not yet waited for. A destination
// holds NaN until the wait of the thread that asked, and nobody may touch it before.
class AsyncCopies {
 public:
  struct Copy {
    unsigned char* target;  // kAsyncCopyBytes of them
    const void* source;     // null for zeros
    int thread;
    int group;
    Location where;  // it was asked for
  };

  void start_block(int num_threads, unsigned char* shared_memory, size_t smem_bytes);
  void add(int thread, unsigned char* target, const void* source, Location where);
  void commit(int thread) { ++threads_[thread].num_groups; }
  // Carries out the thread's committed copies but those of its newest `num_newest` groups.
  void wait(int thread, int num_newest);

  // The copy to any of these bytes that is still on its way; null if there is none.
  const Copy* find(const void* begin, size_t num_bytes) const;
  const Copy* find(int thread) const;

 private:
  struct Thread {
    std::vector<Copy> copies;
    int num_groups = 0;
  };

  size_t chunk(const void* address) const;

  unsigned char* shared_memory_ = nullptr;
  std::vector<Thread> threads_;
  std::vector<int> num_pending_;  // copies, for each chunk of shared memory
  int num_copies_ = 0;
};

}  // namespace bertfast::emulation
