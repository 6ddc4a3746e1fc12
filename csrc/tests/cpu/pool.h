// Threads as torch has them, in loops of csrc/cpu, without torch.
#pragma once

#include "cpu/parallel.h"

namespace bertfast::cpu::testing {

// Threads of std::thread that live as long as a loop, of which a sanitizer sees all.
ThreadPool short_lived_threads();

// For loops that the calling thread begins from now on.
void set_num_threads(int count);

}  // namespace bertfast::cpu::testing
