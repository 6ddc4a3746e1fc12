#pragma once

#include <driver_types.h>

#include <cstdint>
#include <functional>
#include <string>

#include "emulation/memory_map.h"

namespace bertfast::emulation {
struct Launch;
}

// What a launch needs beyond its arguments. A launcher hands its stream through to the launch, so
// this travels without a global.
struct CUstream_st {
  // See schedule.h.
  uint64_t schedule_seed = 0;
  // Blocks before this one are left out, to look at the end of a grid too large to emulate.
  uint64_t first_block = 0;
  // Where accesses must lie. Nothing is checked while it is empty.
  bertfast::emulation::MemoryMap memory;
  // Told of every launch before it runs, if it is not empty.
  std::function<void(const bertfast::emulation::Launch&)> on_launch;
  // How often rows that ldmatrix reads at once lay in the same banks, over all launches.
  uint64_t num_bank_conflicts = 0;
  // Of the last launch that failed.
  std::string error;
};

namespace bertfast::emulation {

using Stream = CUstream_st;

}  // namespace bertfast::emulation
