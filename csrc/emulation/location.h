#pragma once

#include <string>
#include <string_view>

namespace bertfast::emulation {

// A place in the source. As a default argument, `Location::here()` is the place of the call.
struct Location {
  const char* file;
  int line;

  static constexpr Location here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
  }

  bool operator==(const Location& other) const {
    if (line != other.line) return false;
    return file == other.file || std::string_view(file) == other.file;
  }
};

inline std::string to_string(const Location& where) {
  return std::string(where.file) + ":" + std::to_string(where.line);
}

}  // namespace bertfast::emulation
