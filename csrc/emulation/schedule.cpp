#include "emulation/schedule.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <numeric>

namespace bertfast::emulation {

std::vector<uint64_t> Schedule::order_blocks(uint64_t first, uint64_t last) {
  std::vector<uint64_t> blocks(last - std::min(first, last));
  std::iota(blocks.begin(), blocks.end(), first);
  if (seed_ == 1) std::reverse(blocks.begin(), blocks.end());
  if (seed_ > 1) std::shuffle(blocks.begin(), blocks.end(), random_);
  return blocks;
}

void Schedule::start_block(int num_warps) {
  warp_ranks_.resize(num_warps);
  std::iota(warp_ranks_.begin(), warp_ranks_.end(), 0);
  std::shuffle(warp_ranks_.begin(), warp_ranks_.end(), random_);
}

int Schedule::take() {
  auto chosen = ready_.begin();
  if (seed_ == 1) {
    chosen = std::prev(ready_.end());
  } else if (seed_ > 1 && seed_ % 2 == 0) {
    chosen += static_cast<std::ptrdiff_t>(random_() % ready_.size());
  } else if (seed_ > 1) {
    const auto rank = [this](int thread) { return warp_ranks_[thread / kLanes]; };
    chosen = std::min_element(ready_.begin(), ready_.end(),
                              [&](int left, int right) { return rank(left) < rank(right); });
  }
  const int thread = *chosen;
  ready_.erase(chosen);
  return thread;
}

}  // namespace bertfast::emulation
