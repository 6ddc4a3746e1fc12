#pragma once

#include <vector_types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "emulation/async_copy.h"
#include "emulation/fiber.h"
#include "emulation/location.h"
#include "emulation/schedule.h"
#include "emulation/stream.h"

namespace bertfast::emulation {

class KernelError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Launch {
  dim3 grid;
  dim3 block;
  size_t smem_bytes;
  std::function<void()> kernel;
  // What a GPU would be given: the instance of the kernel, and the bytes of its only parameter.
  const void* function = nullptr;
  const void* params = nullptr;
  size_t params_bytes = 0;
};

// Runs the blocks of a launch one after another, a fiber for each thread of the block. Threads run
// until they have to wait for others; who goes on next is the schedule's choice. Not seen are races
// between blocks, and between accesses with no wait before or after them: those are for
// ThreadSanitizer, which is told here of all the order that a kernel asks for (see sanitizer.h).
class Multiprocessor {
 public:
  // What a collective does once all lanes of a warp have arrived, given the operand of each.
  using Collective = void (*)(void* const* operands);

  // The calling host thread's own. A kernel has no other way to find where it runs.
  static Multiprocessor& current();

  // Throws KernelError for the first thing a kernel does wrong.
  void run(const Launch& launch, Stream& stream);

  // For the kernel that runs.
  void sync_block(Location where);
  void warp_collective(const char* name, Collective collective, void* operand, Location where);
  void check_access(const void* address, size_t num_bytes, Location where) const;
  void check_shared_access(const void* address, size_t num_bytes, Location where) const;
  // A null source stands for zeros.
  void copy_async(void* shared_target, const void* source, Location where);
  void commit_copies() { copies_.commit(running_); }
  void wait_for_copies(int num_newest) { copies_.wait(running_, num_newest); }
  void* shared_memory() { return block_->shared_memory.data(); }
  void count_bank_conflicts(int number);
  int lane() const { return running_ % kLanes; }
  [[noreturn]] void fail(const std::string& message, Location where) const;

 private:
  enum class State { kReady, kWaiting, kDone };

  struct Thread {
    explicit Thread(std::function<void()> body) : fiber(std::move(body)) {}

    Fiber fiber;
    State state = State::kReady;
    // The operation that the thread waits in:
    std::string_view name = "";
    Location where = {};
    void* operand = nullptr;
  };
  // Where memory is ordered: at one place in this round of a barrier, at the other in the next,
  // which some threads reach before others have left this one.
  struct Barrier {
    char places[2];
    int round = 0;

    const char* place() const { return &places[round % 2]; }
  };
  // New memory for every block: to a sanitizer, nothing orders the threads of two blocks.
  struct Block {
    std::vector<unsigned char> shared_memory;
    Barrier barrier;
    std::vector<Barrier> warp_barriers;
  };
  struct Abandoned {};  // unwinds the threads that were left waiting when another failed

  // Threads that wait for others in the same operation. All of them called it at one place.
  struct Meeting {
    int num_arrived = 0;
    int first_thread = 0;
  };

  void run_block(uint64_t index);
  void run_thread();
  void arrive(const char* name, void* operand, Location where);
  void join(Meeting& meeting);
  void leave_until_ready();
  void make_ready(int thread);
  void give_up(const std::string& error);
  std::string describe_deadlock() const;
  bool is_shared(const void* address, size_t num_bytes) const;
  void check_copies(const void* address, size_t num_bytes, Location where) const;

  const Launch* launch_ = nullptr;
  Stream* stream_ = nullptr;
  int num_threads_ = 0;
  std::vector<std::unique_ptr<Thread>> threads_;  // kept from launch to launch
  std::vector<Meeting> warp_meetings_;            // one for each warp
  Meeting block_meeting_;
  Schedule schedule_;
  int running_ = 0;
  std::unique_ptr<Block> block_;
  AsyncCopies copies_;
  std::string error_;
  char launch_start_ = 0;  // places of order, too
  char launch_end_ = 0;
};

// Launches as the CUDA runtime would, but returns when all is done.
cudaError_t launch(const Launch& launch, cudaStream_t stream);

}  // namespace bertfast::emulation
