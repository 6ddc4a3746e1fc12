#include "emulation/multiprocessor.h"

#include <cstdio>
#include <map>

#include "emulation/device.h"
#include "emulation/sanitizer.h"

namespace bertfast::emulation {
namespace {

constexpr unsigned kMaxGridX = 2147483647;
constexpr unsigned kMaxGridYZ = 65535;
constexpr uint64_t kMaxBlockThreads = 1024;
constexpr size_t kMaxSmemBytes = 99 << 10;  // of a block, on the smallest devices since Ampere
constexpr unsigned char kPoison = 0xff;     // NaN in every floating point type

uint64_t volume(const dim3& extent) {
  return static_cast<uint64_t>(extent.x) * extent.y * extent.z;
}

uint3 index_in(const dim3& extent, uint64_t linear) {
  return {static_cast<unsigned>(linear % extent.x),
          static_cast<unsigned>(linear / extent.x % extent.y),
          static_cast<unsigned>(linear / extent.x / extent.y)};
}

std::string to_string(const uint3& index) {
  return "(" + std::to_string(index.x) + ", " + std::to_string(index.y) + ", " +
         std::to_string(index.z) + ")";
}

}  // namespace

Multiprocessor& Multiprocessor::current() {
  thread_local Multiprocessor instance;
  return instance;
}

void Multiprocessor::run(const Launch& launch, Stream& stream) {
  launch_ = &launch;
  stream_ = &stream;
  num_threads_ = static_cast<int>(volume(launch.block));
  schedule_ = Schedule(stream.schedule_seed);
  blockDim = launch.block;
  gridDim = launch.grid;
  while (static_cast<int>(threads_.size()) < num_threads_) {
    threads_.push_back(std::make_unique<Thread>([this] { run_thread(); }));
  }

  release_order(&launch_start_);
  for (const uint64_t block : schedule_.order_blocks(stream.first_block, volume(launch.grid))) {
    run_block(block);
  }
}

void Multiprocessor::run_block(uint64_t index) {
  const UnobservedAccesses unobserved;
  const int num_warps = (num_threads_ + kLanes - 1) / kLanes;
  blockIdx = index_in(launch_->grid, index);
  block_ = std::make_unique<Block>();
  block_->shared_memory.assign(launch_->smem_bytes, kPoison);
  block_->warp_barriers.resize(num_warps);
  error_.clear();
  copies_.start_block(num_threads_, block_->shared_memory.data(), launch_->smem_bytes);
  warp_meetings_.assign(num_warps, {});
  block_meeting_ = {};
  schedule_.start_block(num_warps);
  for (int i = 0; i < num_threads_; ++i) make_ready(i);
  for (int num_left = num_threads_; num_left > 0;) {
    if (schedule_.is_empty()) give_up(describe_deadlock());
    running_ = schedule_.take();
    threadIdx = index_in(launch_->block, running_);
    threads_[running_]->fiber.resume();
    if (threads_[running_]->state == State::kDone) --num_left;
  }
  acquire_order(&launch_end_);
  if (!error_.empty()) throw KernelError(error_);
}

// The life of a fiber: one thread of one block after another.
void Multiprocessor::run_thread() {
  for (;;) {
    acquire_order(&launch_start_);
    try {
      if (error_.empty()) launch_->kernel();
      const AsyncCopies::Copy* copy = copies_.find(running_);
      if (error_.empty() && copy != nullptr) fail("async copy never waited for", copy->where);
    } catch (const Abandoned&) {
    } catch (const KernelError& error) {
      give_up(error.what());
    }
    release_order(&launch_end_);
    threads_[running_]->state = State::kDone;
    threads_[running_]->fiber.suspend();
  }
}

// Remembers the error and lets every waiting thread leave its kernel.
void Multiprocessor::give_up(const std::string& error) {
  const UnobservedAccesses unobserved;
  error_ = error;
  for (int i = 0; i < num_threads_; ++i) {
    if (threads_[i]->state == State::kWaiting) make_ready(i);
  }
}

std::string Multiprocessor::describe_deadlock() const {
  int num_done = 0;
  std::map<std::string, std::vector<int>> waiting;
  for (int i = 0; i < num_threads_; ++i) {
    const Thread& thread = *threads_[i];
    if (thread.state == State::kDone) ++num_done;
    if (thread.state == State::kWaiting) {
      waiting[std::string(thread.name) + " at " + to_string(thread.where)].push_back(i);
    }
  }
  std::string text = "deadlock in block " + to_string(blockIdx) + ": ";
  for (const auto& [place, threads] : waiting) {
    text += "thread " + std::to_string(threads.front()) + " and " +
            std::to_string(threads.size() - 1) + " others wait in " + place + "; ";
  }
  return text + std::to_string(num_done) + " of " + std::to_string(num_threads_) +
         " threads have returned";
}

void Multiprocessor::count_bank_conflicts(int number) { stream_->num_bank_conflicts += number; }

void Multiprocessor::fail(const std::string& message, Location where) const {
  throw KernelError(to_string(where) + ": " + message + " [block " + to_string(blockIdx) +
                    ", thread " + std::to_string(running_) + ": warp " +
                    std::to_string(running_ / kLanes) + ", lane " + std::to_string(lane()) + "]");
}

cudaError_t launch(const Launch& launch, cudaStream_t stream) {
  const uint64_t num_threads = volume(launch.block);
  const bool is_valid = volume(launch.grid) > 0 && launch.grid.x <= kMaxGridX &&
                        launch.grid.y <= kMaxGridYZ && launch.grid.z <= kMaxGridYZ &&
                        num_threads > 0 && num_threads <= kMaxBlockThreads &&
                        launch.smem_bytes <= kMaxSmemBytes;
  if (!is_valid) return cudaErrorInvalidConfiguration;
  Stream defaults;
  if (stream != nullptr && stream->on_launch) stream->on_launch(launch);
  try {
    Multiprocessor::current().run(launch, stream == nullptr ? defaults : *stream);
    return cudaSuccess;
  } catch (const KernelError& error) {
    if (stream != nullptr) stream->error = error.what();
    if (stream == nullptr) std::fprintf(stderr, "%s\n", error.what());
    return cudaErrorLaunchFailure;
  }
}

}  // namespace bertfast::emulation
