#include "cpu/scratch.h"

#include <cstdlib>
#include <memory>
#include <new>

namespace bertfast::cpu {
namespace {

struct Free {
  void operator()(uint8_t* memory) const { std::free(memory); }
};

thread_local std::unique_ptr<uint8_t, Free> block;
thread_local int64_t block_bytes = 0;

}  // namespace

uint8_t* thread_block(int64_t bytes) {
  if (bytes <= block_bytes) return block.get();
  const int64_t padded = (bytes + kCacheLine - 1) / kCacheLine * kCacheLine;
  block.reset();
  block_bytes = 0;
  block.reset(static_cast<uint8_t*>(std::aligned_alloc(kCacheLine, padded)));
  if (block == nullptr) throw std::bad_alloc();
  block_bytes = padded;
  return block.get();
}

}  // namespace bertfast::cpu
