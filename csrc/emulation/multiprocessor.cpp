#include "emulation/multiprocessor.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <string_view>

#include "emulation/device.h"

namespace bertfast::emulation {
namespace {

constexpr unsigned kMaxGridX = 2147483647;
constexpr unsigned kMaxGridYZ = 65535;
constexpr uint64_t kMaxBlockThreads = 1024;
constexpr size_t kMaxSmemBytes = 48 << 10;  // what a kernel gets without asking for more
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

std::string to_string(const Location& where) {
  return std::string(where.file) + ":" + std::to_string(where.line);
}

}  // namespace

Multiprocessor& Multiprocessor::current() {
  thread_local Multiprocessor instance;
  return instance;
}

void Multiprocessor::run(const Launch& launch, const Stream& stream) {
  launch_ = &launch;
  stream_ = &stream;
  num_threads_ = static_cast<int>(volume(launch.block));
  schedule_ = Schedule(stream.schedule_seed);
  blockDim = launch.block;
  gridDim = launch.grid;
  while (static_cast<int>(threads_.size()) < num_threads_) {
    threads_.push_back(std::make_unique<Thread>([this] { run_thread(); }));
  }

  for (const uint64_t block : schedule_.order_blocks(stream.first_block, volume(launch.grid))) {
    run_block(block);
  }
}

void Multiprocessor::run_block(uint64_t index) {
  blockIdx = index_in(launch_->grid, index);
  shared_memory_.assign(launch_->smem_bytes, kPoison);
  error_.clear();
  schedule_.start_block((num_threads_ + kLanes - 1) / kLanes);
  for (int i = 0; i < num_threads_; ++i) make_ready(i);
  for (int num_left = num_threads_; num_left > 0;) {
    if (schedule_.is_empty()) give_up(describe_deadlock());
    running_ = schedule_.take();
    threadIdx = index_in(launch_->block, running_);
    threads_[running_]->fiber.resume();
    if (threads_[running_]->state == State::kDone) --num_left;
  }
  if (!error_.empty()) throw KernelError(error_);
}

// The life of a fiber: one thread of one block after another.
void Multiprocessor::run_thread() {
  for (;;) {
    try {
      if (error_.empty()) launch_->kernel();
    } catch (const Abandoned&) {
    } catch (const KernelError& error) {
      give_up(error.what());
    }
    threads_[running_]->state = State::kDone;
    threads_[running_]->fiber.suspend();
  }
}

void Multiprocessor::sync_block(Location where) {
  rendezvous(0, num_threads_, "sync_block", nullptr, nullptr, where);
}

void Multiprocessor::warp_collective(const char* name, Collective collective, void* operand,
                                     Location where) {
  rendezvous(running_ - lane(), kLanes, name, collective, operand, where);
}

// Waits until `count` threads from `first` on have called the same operation at the same place.
// The last one to come carries it out for all.
void Multiprocessor::rendezvous(int first, int count, const char* name, Collective collective,
                                void* operand, Location where) {
  Thread& self = *threads_[running_];
  self.name = name;
  self.where = where;
  self.operand = operand;
  const bool is_last = count_arrivals(first, count) == count - 1;
  self.state = State::kWaiting;
  if (is_last) {
    std::vector<void*> operands;
    for (int i = first; i < first + count; ++i) {
      operands.push_back(threads_[i]->operand);
      make_ready(i);
    }
    if (collective != nullptr) collective(operands);
  }
  self.fiber.suspend();
  if (!error_.empty()) throw Abandoned();
}

// How many of the threads wait in the operation that the running one has come to. Threads of one
// warp have to come to the same one, and one operation has to be called at one place.
int Multiprocessor::count_arrivals(int first, int count) const {
  const Thread& self = *threads_[running_];
  int num_arrived = 0;
  for (int i = first; i < std::min(first + count, num_threads_); ++i) {
    const Thread& other = *threads_[i];
    if (other.state != State::kWaiting) continue;
    const bool is_same_warp = i / kLanes == running_ / kLanes;
    const bool is_same_operation = std::string_view(other.name) == self.name;
    if (!is_same_operation && !is_same_warp) continue;
    if (!is_same_operation || !(other.where == self.where)) {
      fail(std::string("divergent ") + self.name + ": thread " + std::to_string(i) + " waits in " +
               other.name + " at " + to_string(other.where),
           self.where);
    }
    ++num_arrived;
  }
  return num_arrived;
}

void Multiprocessor::make_ready(int thread) {
  threads_[thread]->state = State::kReady;
  schedule_.add(thread);
}

// Remembers the error and lets every waiting thread leave its kernel.
void Multiprocessor::give_up(const std::string& error) {
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

void Multiprocessor::check_access(const void* address, size_t num_bytes, Location where) const {
  if (reinterpret_cast<uintptr_t>(address) % num_bytes != 0) {
    fail("misaligned access to " + std::to_string(num_bytes) + " bytes at " +
             stream_->memory.describe(address),
         where);
  }
  const auto* begin = static_cast<const unsigned char*>(address);
  const unsigned char* shared_end = shared_memory_.data() + shared_memory_.size();
  const bool is_shared = begin >= shared_memory_.data() && begin + num_bytes <= shared_end;
  if (is_shared) return;
  if (stream_->memory.is_empty() || stream_->memory.contains(address, num_bytes)) return;
  fail("out of bounds: " + std::to_string(num_bytes) + " bytes at " +
           stream_->memory.describe(address),
       where);
}

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
  const Stream defaults;
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
