// Loops on torch's own threads: torch.set_num_threads holds for them, and no second pool exists.
#pragma once

#include <cstdint>

namespace bertfast::cpu {

// As torch/csrc/stable/c/shim.h declares torch_parallel_for, torch_get_num_threads and
// torch_get_thread_idx, from torch 2.10 on. No header of torch is read here.
using TorchRange = void (*)(int64_t begin, int64_t end, void* context);
using TorchParallelFor = int32_t (*)(int64_t begin, int64_t end, int64_t grain, TorchRange range,
                                     void* context);
using TorchThreadNumber = int32_t (*)(uint32_t* number);

struct ThreadPool {
  TorchParallelFor parallel_for;
  TorchThreadNumber num_threads;
  TorchThreadNumber thread_index;
};

// To be called before any other function here. The functions have to outlive the process' use of
// kernels: libtorch_cpu is never unloaded.
void use_thread_pool(const ThreadPool& pool);

// How many threads a loop may run on, the calling one included.
int num_threads();

// The thread of a loop's body: 0 to num_threads() - 1, 0 outside of loops.
int thread_index();

// Calls range(begin, end, context) for at most (end - begin) / grain parts, rounded up, each index
// once. What one of them throws is thrown here, after all have returned; the others are not
// stopped.
void run_ranges(int64_t begin, int64_t end, int64_t grain, TorchRange range, void* context);

// body(begin, end), as above. Inside of another loop it runs on the calling thread alone. Python's
// lock must not be held: a thread of the pool may be waiting for it.
template <typename Body>
void parallel_for(int64_t begin, int64_t end, int64_t grain, const Body& body) {
  if (begin >= end) return;
  // Not worth a call into torch, which has its own price.
  if (end - begin <= grain) return body(begin, end);
  const auto range = [](int64_t from, int64_t to, void* context) {
    (*static_cast<const Body*>(context))(from, to);
  };
  run_ranges(begin, end, grain, range, const_cast<Body*>(&body));
}

}  // namespace bertfast::cpu
