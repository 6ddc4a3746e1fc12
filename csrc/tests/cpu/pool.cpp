#include "tests/cpu/pool.h"

#include <algorithm>
#include <thread>
#include <vector>

namespace bertfast::cpu::testing {
namespace {

thread_local int64_t threads = 1;
thread_local uint32_t own_index = 0;
thread_local bool is_in_loop = false;

int32_t run_loop(int64_t begin, int64_t end, int64_t grain, TorchRange range, void* context) {
  const int64_t size = end - begin, parts = std::min(threads, (size + grain - 1) / grain);
  if (is_in_loop || parts < 2) {
    range(begin, end, context);
    return 0;
  }
  const auto run_part = [&](int64_t i) {
    own_index = static_cast<uint32_t>(i);
    is_in_loop = true;
    range(begin + size * i / parts, begin + size * (i + 1) / parts, context);
    is_in_loop = false;
    own_index = 0;
  };
  std::vector<std::thread> others;
  for (int64_t i = 1; i < parts; ++i) others.emplace_back(run_part, i);
  run_part(0);
  for (std::thread& other : others) other.join();
  return 0;
}

int32_t tell_threads(uint32_t* number) {
  *number = static_cast<uint32_t>(threads);
  return 0;
}

int32_t tell_index(uint32_t* number) {
  *number = own_index;
  return 0;
}

}  // namespace

ThreadPool short_lived_threads() { return {run_loop, tell_threads, tell_index}; }

void set_num_threads(int count) { threads = count; }

}  // namespace bertfast::cpu::testing
