// What is said of ids that lie outside of their tables.
#pragma once

#include <cstdint>

namespace bertfast {

// Bits of one word, for each table that an id lies outside of.
inline constexpr uint32_t kWordIdOutOfRange = 1;
inline constexpr uint32_t kTokenTypeIdOutOfRange = 2;
inline constexpr uint32_t kPositionIdOutOfRange = 4;

}  // namespace bertfast
