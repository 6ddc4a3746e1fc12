#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

namespace bertfast::emulation {

// The buffers that a kernel may touch.
class MemoryMap {
 public:
  void add(const void* begin, size_t num_bytes, const std::string& name) {
    buffers_[address(begin)] = {num_bytes, name};
  }
  void remove(const void* begin) { buffers_.erase(address(begin)); }
  bool is_empty() const { return buffers_.empty(); }

  bool contains(const void* begin, size_t num_bytes) const {
    const auto buffer = find(begin);
    return buffer != buffers_.end() &&
           address(begin) + num_bytes <= buffer->first + buffer->second.num_bytes;
  }

  // Where `begin` lies, in words: "byte 3072 of bias (3072 bytes)".
  std::string describe(const void* begin) const {
    const auto buffer = find(begin);
    if (buffer == buffers_.end()) return "an address below every buffer";
    return "byte " + std::to_string(address(begin) - buffer->first) + " of " + buffer->second.name +
           " (" + std::to_string(buffer->second.num_bytes) + " bytes)";
  }

 private:
  struct Buffer {
    size_t num_bytes;
    std::string name;
  };
  using Buffers = std::map<uintptr_t, Buffer>;

  static uintptr_t address(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer); }

  // The last buffer that begins at or below `pointer`.
  Buffers::const_iterator find(const void* pointer) const {
    const auto above = buffers_.upper_bound(address(pointer));
    return above == buffers_.begin() ? buffers_.end() : std::prev(above);
  }

  Buffers buffers_;
};

}  // namespace bertfast::emulation
