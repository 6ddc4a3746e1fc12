// AddressSanitizer marks the gaps between a stack's variables, and has to know which stack that is.
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>

#include "emulation/sanitizer.h"

// Of the runtime, in no header.
extern "C" void __asan_loadN(const void* begin, size_t num_bytes);
extern "C" void __asan_storeN(void* begin, size_t num_bytes);

namespace bertfast::emulation {

SanitizedStack::SanitizedStack(void* begin, size_t num_bytes)
    : begin_(begin), num_bytes_(num_bytes) {}

// The marks would outlive the stack, and spoil what is mapped in its place.
SanitizedStack::~SanitizedStack() {
  if (begin_ != nullptr) __asan_unpoison_memory_region(begin_, num_bytes_);
}

void SanitizedStack::leave_for(SanitizedStack& next) {
  __sanitizer_start_switch_fiber(&state_, next.begin_, next.num_bytes_);
}

// Only from here is it known where the stack of the host thread lies.
void SanitizedStack::arrive_from(SanitizedStack& previous) {
  __sanitizer_finish_switch_fiber(state_, &previous.begin_, &previous.num_bytes_);
}

void release_order(const void*) {}
void acquire_order(const void*) {}

void observe_read(const void* begin, size_t num_bytes) { __asan_loadN(begin, num_bytes); }
void observe_write(void* begin, size_t num_bytes) { __asan_storeN(begin, num_bytes); }

UnobservedAccesses::UnobservedAccesses() = default;
UnobservedAccesses::~UnobservedAccesses() = default;

}  // namespace bertfast::emulation
