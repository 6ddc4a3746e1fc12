#include "emulation/sanitizer.h"

namespace bertfast::emulation {

SanitizedStack::SanitizedStack(void* begin, size_t num_bytes)
    : begin_(begin), num_bytes_(num_bytes) {}
SanitizedStack::~SanitizedStack() = default;
void SanitizedStack::leave_for(SanitizedStack&) {}
void SanitizedStack::arrive_from(SanitizedStack&) {}

void release_order(const void*) {}
void acquire_order(const void*) {}
void observe_read(const void*, size_t) {}
void observe_write(void*, size_t) {}

UnobservedAccesses::UnobservedAccesses() = default;
UnobservedAccesses::~UnobservedAccesses() = default;

}  // namespace bertfast::emulation
