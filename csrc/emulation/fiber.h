#pragma once

#include <functional>
#include <memory>

#include "emulation/sanitizer.h"

namespace bertfast::emulation {

// A function with a stack of its own, which can stop in the middle and go on later.
class Fiber {
 public:
  // `body` must never return: it may only suspend.
  explicit Fiber(std::function<void()> body);
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  void resume();   // from outside: runs the body until it suspends
  void suspend();  // from inside: returns from resume

 private:
  using JumpBuffer = void* [5];
  struct Unmap {
    void operator()(void* mapping) const;
  };

  static void enter(unsigned high_bits, unsigned low_bits);
  void start();
  void jump_inside();
  void jump_outside();

  std::function<void()> body_;
  std::unique_ptr<void, Unmap> mapping_;
  SanitizedStack inside_stack_;
  SanitizedStack outside_stack_;
  bool is_started_ = false;
  JumpBuffer inside_;
  JumpBuffer outside_;
};

}  // namespace bertfast::emulation
