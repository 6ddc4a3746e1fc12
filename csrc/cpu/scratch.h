// Memory for what lies between the products of a layer.
#pragma once

#include <cstdint>

namespace bertfast::cpu {

constexpr int64_t kCacheLine = 64;

// The calling thread's own block, of at least `bytes`, on a cache line. It grows to what its
// largest use took and goes with the thread: at fresh memory a layer would wait for its pages. What
// an earlier call gave is not to be used any more. Throws std::bad_alloc.
uint8_t* thread_block(int64_t bytes);

// What the blocks of all threads take.
int64_t scratch_bytes();

namespace {

// Hands out pieces of the thread's block, each on a cache line of its own.
class Scratch {
 public:
  explicit Scratch(int64_t bytes) : next_(thread_block(bytes)) {}

  template <typename T>
  T* take(int64_t count) {
    T* taken = reinterpret_cast<T*>(next_);
    next_ += bytes<T>(count);
    return taken;
  }

  // What a piece takes.
  template <typename T>
  static constexpr int64_t bytes(int64_t count) {
    const int64_t unpadded = count * static_cast<int64_t>(sizeof(T));
    return (unpadded + kCacheLine - 1) / kCacheLine * kCacheLine;
  }

 private:
  uint8_t* next_;
};

}  // namespace
}  // namespace bertfast::cpu
