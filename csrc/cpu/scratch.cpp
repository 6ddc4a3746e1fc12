#include "cpu/scratch.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace bertfast::cpu {
namespace {

// Of all threads: none can reach another's block, and a service asks how much all of them hold.
std::atomic<int64_t> held_bytes{0};

class Block {
 public:
  ~Block() { release(); }

  uint8_t* of(int64_t bytes) {
    if (bytes > bytes_) grow(bytes);
    return memory_;
  }

 private:
  void grow(int64_t bytes) {
    const int64_t padded = (bytes + kCacheLine - 1) / kCacheLine * kCacheLine;
    release();
    memory_ = static_cast<uint8_t*>(std::aligned_alloc(kCacheLine, padded));
    if (memory_ == nullptr) throw std::bad_alloc();
    bytes_ = padded;
    held_bytes += padded;
  }

  void release() {
    std::free(memory_);
    held_bytes -= bytes_;
    memory_ = nullptr;
    bytes_ = 0;
  }

  uint8_t* memory_ = nullptr;
  int64_t bytes_ = 0;
};

thread_local Block block;

}  // namespace

uint8_t* thread_block(int64_t bytes) { return block.of(bytes); }

int64_t scratch_bytes() { return held_bytes; }

}  // namespace bertfast::cpu
