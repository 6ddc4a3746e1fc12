// ThreadSanitizer takes each fiber for a thread of its own, whose accesses race with those of all
// others but for the order given here: it finds a missing barrier whatever the schedule was.
#include <sanitizer/tsan_interface.h>

#include "emulation/sanitizer.h"

// Of the runtime, in no header.
extern "C" void __tsan_read_range(void* begin, size_t num_bytes);
extern "C" void __tsan_write_range(void* begin, size_t num_bytes);
extern "C" void __tsan_ignore_thread_begin();
extern "C" void __tsan_ignore_thread_end();

namespace bertfast::emulation {

SanitizedStack::SanitizedStack(void* begin, size_t num_bytes)
    : begin_(begin), num_bytes_(num_bytes), state_(__tsan_create_fiber(0)) {}

SanitizedStack::~SanitizedStack() {
  if (begin_ != nullptr) __tsan_destroy_fiber(state_);
}

void SanitizedStack::leave_for(SanitizedStack& next) {
  if (begin_ == nullptr) state_ = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(next.state_, __tsan_switch_to_fiber_no_sync);
}

void SanitizedStack::arrive_from(SanitizedStack&) {}

void release_order(const void* place) { __tsan_release(const_cast<void*>(place)); }
void acquire_order(const void* place) { __tsan_acquire(const_cast<void*>(place)); }

void observe_read(const void* begin, size_t num_bytes) {
  __tsan_read_range(const_cast<void*>(begin), num_bytes);
}
void observe_write(void* begin, size_t num_bytes) { __tsan_write_range(begin, num_bytes); }

UnobservedAccesses::UnobservedAccesses() { __tsan_ignore_thread_begin(); }
UnobservedAccesses::~UnobservedAccesses() { __tsan_ignore_thread_end(); }

}  // namespace bertfast::emulation
