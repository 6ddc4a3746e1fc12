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

}  // namespace

Fiber::Fiber(std::function<void()> body) : body_(std::move(body)) {
  stack_ = mmap(nullptr, kGuardBytes + kStackBytes, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (stack_ == MAP_FAILED) throw std::bad_alloc();
  mprotect(stack_, kGuardBytes, PROT_NONE);  // an overflow must not reach the neighbour's stack
}

Fiber::~Fiber() { munmap(stack_, kGuardBytes + kStackBytes); }

// A context gets the body onto its own stack. From then on plain jumps go back and forth: unlike
// swapcontext they make no system call, which is most of the time of a switch.
void Fiber::resume() {
  if (_setjmp(outside_) != 0) return;
  if (is_started_) _longjmp(inside_, 1);
  start();
}

void Fiber::suspend() {
  if (_setjmp(inside_) == 0) _longjmp(outside_, 1);
}

void Fiber::start() {
  is_started_ = true;
  ucontext_t context;
  getcontext(&context);
  context.uc_stack.ss_sp = static_cast<char*>(stack_) + kGuardBytes;
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
  reinterpret_cast<Fiber*>(static_cast<uintptr_t>(address))->body_();
}

}  // namespace bertfast::emulation
