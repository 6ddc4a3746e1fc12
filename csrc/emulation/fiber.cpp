// Compiled without sanitizers: in the middle of a switch they would not know which stack they see.
#include "emulation/fiber.h"

#include <sys/mman.h>
#include <ucontext.h>

#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

namespace bertfast::emulation {
namespace {

constexpr size_t kGuardBytes = 64 << 10;  // a multiple of the page size of every host
constexpr size_t kStackBytes = 128 << 10;

void* map_stack() {
  void* mapping = mmap(nullptr, kGuardBytes + kStackBytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) throw std::bad_alloc();
  mprotect(mapping, kGuardBytes, PROT_NONE);  // an overflow must not reach the neighbour's stack
  return mapping;
}

// A function of its own: the compiler takes a jump for none that could come back to its function.
__attribute__((noipa)) void jump(void** buffer) { __builtin_longjmp(buffer, 1); }

}  // namespace

Fiber::Fiber(std::function<void()> body)
    : body_(std::move(body)),
      mapping_(map_stack()),
      inside_stack_(static_cast<char*>(mapping_.get()) + kGuardBytes, kStackBytes) {}

void Fiber::Unmap::operator()(void* mapping) const { munmap(mapping, kGuardBytes + kStackBytes); }

void Fiber::resume() {
  outside_stack_.leave_for(inside_stack_);
  jump_inside();
  outside_stack_.arrive_from(inside_stack_);
}

void Fiber::suspend() {
  inside_stack_.leave_for(outside_stack_);
  jump_outside();
  inside_stack_.arrive_from(outside_stack_);
}

// A context gets the body onto its own stack. From then on plain jumps go back and forth: unlike
// swapcontext they make no system call, which is most of the time of a switch, and unlike those of
// the C library they are hidden from sanitizers, which would not let them leave a stack.
__attribute__((noinline)) void Fiber::jump_inside() {
  if (__builtin_setjmp(outside_) != 0) return;
  if (is_started_) jump(inside_);
  start();
}

__attribute__((noinline)) void Fiber::jump_outside() {
  if (__builtin_setjmp(inside_) == 0) jump(outside_);
}

void Fiber::start() {
  is_started_ = true;
  ucontext_t context;
  getcontext(&context);
  context.uc_stack.ss_sp = static_cast<char*>(mapping_.get()) + kGuardBytes;
  context.uc_stack.ss_size = kStackBytes;
  context.uc_link = nullptr;
  // makecontext passes integers only.
  const auto address = reinterpret_cast<uintptr_t>(this);
  makecontext(&context, reinterpret_cast<void (*)()>(&Fiber::enter), 2,
              static_cast<unsigned>(static_cast<uint64_t>(address) >> 32),
              static_cast<unsigned>(address));
  setcontext(&context);
}

void Fiber::enter(unsigned high_bits, unsigned low_bits) {
  const uint64_t address = static_cast<uint64_t>(high_bits) << 32 | low_bits;
  auto* fiber = reinterpret_cast<Fiber*>(static_cast<uintptr_t>(address));
  fiber->inside_stack_.arrive_from(fiber->outside_stack_);
  fiber->body_();
}

}  // namespace bertfast::emulation
