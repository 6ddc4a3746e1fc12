#include "cpu/parallel.h"

#include <atomic>
#include <exception>
#include <stdexcept>

namespace bertfast::cpu {
namespace {

// Set once, when the module is loaded; a kernel can be given nothing but numbers and pointers.
ThreadPool thread_pool = {};

// An exception may not leave a function that torch calls as one of C.
struct Guarded {
  TorchRange range;
  void* context;
  std::atomic<bool> failed{false};
  std::exception_ptr error{};  // written by the first to fail

  static void run(int64_t begin, int64_t end, void* self) {
    auto& guarded = *static_cast<Guarded*>(self);
    try {
      guarded.range(begin, end, guarded.context);
    } catch (...) {
      if (!guarded.failed.exchange(true)) guarded.error = std::current_exception();
    }
  }
};

int number_of(TorchThreadNumber ask) {
  uint32_t number = 0;
  if (ask == nullptr || ask(&number) != 0) {
    throw std::runtime_error("torch does not tell about its threads");
  }
  return static_cast<int>(number);
}

}  // namespace

void use_thread_pool(const ThreadPool& pool) { thread_pool = pool; }

int num_threads() { return number_of(thread_pool.num_threads); }

int thread_index() { return number_of(thread_pool.thread_index); }

void run_ranges(int64_t begin, int64_t end, int64_t grain, TorchRange range, void* context) {
  if (thread_pool.parallel_for == nullptr) {
    throw std::runtime_error("no thread pool: use_thread_pool was not called");
  }
  Guarded guarded{range, context};
  const int32_t status =
      thread_pool.parallel_for(begin, end, grain < 1 ? 1 : grain, &Guarded::run, &guarded);
  if (guarded.error != nullptr) std::rethrow_exception(guarded.error);
  if (status != 0) throw std::runtime_error("torch_parallel_for failed");
}

}  // namespace bertfast::cpu
