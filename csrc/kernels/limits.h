// What launchers serve at most.
#pragma once

namespace bertfast {

// A row has to fit into the registers of one block.
inline constexpr int kMaxHiddenSize = 8192;

}  // namespace bertfast
