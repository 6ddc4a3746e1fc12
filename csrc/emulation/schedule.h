#pragma once

#include <cstdint>
#include <deque>
#include <random>
#include <vector>

namespace bertfast::emulation {

inline constexpr int kLanes = 32;  // of a warp

// Who goes on when several threads can. A right kernel gives the same bits under every schedule.
//   seed 0      the thread that is ready longest: in order
//   seed 1      the thread that is ready shortest: backwards
//   other even  any thread
//   other odd   warp after warp in any order, each as far as it gets: what a fast warp overwrites
//               under the eyes of a slow one shows here
class Schedule {
 public:
  explicit Schedule(uint64_t seed = 0) : seed_(seed), random_(seed) {}

  // The blocks [first, last) in the order in which they are to run.
  std::vector<uint64_t> order_blocks(uint64_t first, uint64_t last);

  void start_block(int num_warps);
  bool is_empty() const { return num_ready_ == 0; }
  void add(int thread);
  int take();

 private:
  bool keeps_warps_together() const { return seed_ > 1 && seed_ % 2 == 1; }

  uint64_t seed_;
  std::mt19937_64 random_;
  int num_ready_ = 0;
  // Threads that can go on: those of the first queue before those of the next. A queue for each
  // warp if warps stay together, else only the first.
  std::vector<std::deque<int>> queues_;
  std::vector<int> warp_queues_;  // which queue is a warp's
};

}  // namespace bertfast::emulation
