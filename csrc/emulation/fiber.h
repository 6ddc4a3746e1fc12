#pragma once

#include <setjmp.h>

#include <functional>

namespace bertfast::emulation {

// A function with a stack of its own, which can stop in the middle and go on later.
class Fiber {
 public:
  // `body` must never return: it may only suspend.
  explicit Fiber(std::function<void()> body);
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  void resume();   // from outside: runs the body until it suspends
  void suspend();  // from inside: returns from resume

 private:
  static void enter(unsigned high_bits, unsigned low_bits);
  void start();

  std::function<void()> body_;
  void* stack_;
  bool is_started_ = false;
  jmp_buf inside_;
  jmp_buf outside_;
};

}  // namespace bertfast::emulation
