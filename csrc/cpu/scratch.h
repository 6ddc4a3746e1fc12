// Memory for what lies between the products of a layer.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace bertfast::cpu {

// Each thread has one block, which grows to what its largest use took and goes with the thread: at
// fresh memory a layer would wait for its pages. A thread uses one Scratch at a time.
class Scratch {
 public:
  explicit Scratch(int64_t bytes) {
    if (bytes <= block_bytes) return;
    block.reset();
    block_bytes = 0;
    block.reset(static_cast<uint8_t*>(std::aligned_alloc(kLine, padded(bytes))));
    if (block == nullptr) throw std::bad_alloc();
    block_bytes = bytes;
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  // The next piece of it, on a cache line of its own.
  template <typename T>
  T* take(int64_t count) {
    T* taken = reinterpret_cast<T*>(block.get() + used_);
    used_ += bytes<T>(count);
    return taken;
  }

  // What a piece takes.
  template <typename T>
  static int64_t bytes(int64_t count) {
    return padded(count * static_cast<int64_t>(sizeof(T)));
  }

 private:
  struct Free {
    void operator()(uint8_t* memory) const { std::free(memory); }
  };

  static constexpr int64_t kLine = 64;
  static int64_t padded(int64_t bytes) { return (bytes + kLine - 1) / kLine * kLine; }

  inline static thread_local std::unique_ptr<uint8_t, Free> block;
  inline static thread_local int64_t block_bytes = 0;
  int64_t used_ = 0;
};

}  // namespace bertfast::cpu
