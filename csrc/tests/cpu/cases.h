// Calls of the CPU kernels whose memory is as large as they are promised, to the byte.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace bertfast::cpu::testing {

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};

// On a cache line, as torch's memory is; behind its last element there is nothing.
template <typename T>
class Buffer {
 public:
  explicit Buffer(int64_t count) : bytes_(count * static_cast<int64_t>(sizeof(T))) {
    void* memory = nullptr;
    if (posix_memalign(&memory, 64, bytes_) != 0) throw std::bad_alloc();
    memory_.reset(static_cast<T*>(memory));
    std::memset(memory, 0, bytes_);
  }

  T* get() const { return memory_.get(); }
  std::string bytes() const { return {reinterpret_cast<const char*>(get()), bytes_}; }

 private:
  size_t bytes_;
  std::unique_ptr<T, Free> memory_;
};

// From -1 to 1, as float or as the upper half of one.
template <typename T>
Buffer<T> randoms(int64_t count, uint32_t seed) {
  std::mt19937 generator(seed);
  Buffer<T> made(count);
  for (int64_t i = 0; i < count; ++i) {
    const float value = static_cast<float>(generator()) / 2147483648.0f - 1.0f;
    if constexpr (sizeof(T) == 4) {
      made.get()[i] = value;
    } else {
      uint32_t bits;
      std::memcpy(&bits, &value, 4);
      made.get()[i] = static_cast<T>(bits >> 16);
    }
  }
  return made;
}

// run: gives the results' bytes. What it reads is shared by all who call it at a time, what it
// writes is its own.
struct Case {
  std::string name;
  std::function<std::string()> run;
};

// Those that this CPU has instructions for, and limit_isa leaves.
std::vector<Case> row_cases();
std::vector<Case> attention_cases();
std::vector<Case> dense_cases();
// Loops whose every part throws.
std::vector<Case> error_cases();

}  // namespace bertfast::cpu::testing
