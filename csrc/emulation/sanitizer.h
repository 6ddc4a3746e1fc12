// What a sanitizer has to be told of fibers, which it would take for one thread on a mad stack. It
// is compiled in one of three forms, sanitizer_none.cpp, sanitizer_address.cpp,
// sanitizer_thread.cpp: CMake takes the one that fits BERTFAST_SANITIZE.
#pragma once

#include <cstddef>

namespace bertfast::emulation {

// The stack of a fiber, or the one that fibers are resumed from.
class SanitizedStack {
 public:
  SanitizedStack() = default;                     // the host thread's
  SanitizedStack(void* begin, size_t num_bytes);  // a fiber's
  ~SanitizedStack();
  SanitizedStack(const SanitizedStack&) = delete;
  SanitizedStack& operator=(const SanitizedStack&) = delete;

  // Around every switch: before it on the stack that is left, after it on the one that is entered.
  void leave_for(SanitizedStack& next);
  void arrive_from(SanitizedStack& previous);

 private:
  const void* begin_ = nullptr;
  size_t num_bytes_ = 0;
  void* state_ = nullptr;
};

// The only order between the threads of a kernel: what came before a release of `place` comes
// before what follows an acquire of it. The order in which fibers happen to run is none.
void release_order(const void* place);
void acquire_order(const void* place);

// What the emulation reads and writes for the thread that runs, as if the kernel's code did it.
void observe_read(const void* begin, size_t num_bytes);
void observe_write(void* begin, size_t num_bytes);

// While one of these lives, the thread that runs keeps the emulation's books, not the kernel's
// data.
class UnobservedAccesses {
 public:
  UnobservedAccesses();
  ~UnobservedAccesses();
  UnobservedAccesses(const UnobservedAccesses&) = delete;
  UnobservedAccesses& operator=(const UnobservedAccesses&) = delete;
};

}  // namespace bertfast::emulation
