// What launchers serve at most.
#pragma once

namespace bertfast {

// A row has to fit into the registers of one block.
inline constexpr int kMaxHiddenSize = 8192;

// A tile of queries and one of keys have to fit into the shared memory of one block.
inline constexpr int kMaxHeadSize = 256;

// The compute capability, 75 for 7.5, that brought the instructions of the kernels.
inline constexpr int kOldestCapability = 75;

}  // namespace bertfast
