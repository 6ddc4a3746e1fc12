#include "emulation/schedule.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace bertfast::emulation {

std::vector<uint64_t> Schedule::order_blocks(uint64_t first, uint64_t last) {
  std::vector<uint64_t> blocks(last - std::min(first, last));
  std::iota(blocks.begin(), blocks.end(), first);
  if (seed_ == 1) std::reverse(blocks.begin(), blocks.end());
  if (seed_ > 1) std::shuffle(blocks.begin(), blocks.end(), random_);
  return blocks;
}

void Schedule::start_block(int num_warps) {
  num_ready_ = 0;
  queues_.assign(num_warps, {});
  warp_queues_.assign(num_warps, 0);
  if (!keeps_warps_together()) return;
  std::iota(warp_queues_.begin(), warp_queues_.end(), 0);
  std::shuffle(warp_queues_.begin(), warp_queues_.end(), random_);
}

void Schedule::add(int thread) {
  queues_[warp_queues_[thread / kLanes]].push_back(thread);
  ++num_ready_;
}

int Schedule::take() {
  auto& queue = *std::find_if(queues_.begin(), queues_.end(),
                              [](const auto& candidate) { return !candidate.empty(); });
  if (seed_ > 1 && seed_ % 2 == 0) std::swap(queue.front(), queue[random_() % queue.size()]);
  const int thread = seed_ == 1 ? queue.back() : queue.front();
  seed_ == 1 ? queue.pop_back() : queue.pop_front();
  --num_ready_;
  return thread;
}

}  // namespace bertfast::emulation
