// Wrong kernels whose results are right, and a right one: `sanitizer_probe NAME` runs one of them.
// The emulation alone has nothing to say of them; the sanitizers name the line marked "here".
#include <climits>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>

#include "tests/one_block.h"

namespace bertfast::testing {
namespace {

constexpr int kBlocks = 2;
constexpr int kSize = kBlocks * kThreads;

struct Probe {
  const float* in;  // [kSize]
  float* out;       // [kSize]
};

__device__ int global_index() { return static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x); }

__device__ float* neighbour_slot() { return shared_memory<float>() + (threadIdx.x ^ 1); }

__device__ float* far_slot() { return shared_memory<float>() + (threadIdx.x ^ kWarpSize); }

__device__ float* own_slot() { return shared_memory<float>() + threadIdx.x; }

__device__ Vector<float, 1> input(Probe probe) { return load<1>(probe.in + global_index()); }

// Writes, lets others read, writes again: each step behind a barrier.
__global__ void right_kernel(Probe probe) {
  store(own_slot(), input(probe));
  sync_block();
  const auto value = load<1>(far_slot());
  sync_block();
  store(own_slot(), value);
  sync_block();
  store(probe.out + global_index(), load<1>(far_slot()));
}

__global__ void no_barrier_kernel(Probe probe) {
  if (threadIdx.x < kWarpSize) {
    store(own_slot(), input(probe));
    store(far_slot(), load<1>(probe.in + global_index() + kWarpSize));
  }
  store(probe.out + global_index(), load<1>(own_slot()));  // here
}

// The slots are written again while the other warp may still read them: never in order.
__global__ void barrier_too_few_kernel(Probe probe) {
  store(own_slot(), input(probe));
  sync_block();
  const auto value = load<1>(far_slot());
  store(own_slot(), value);  // here
  sync_block();
  store(probe.out + global_index(), input(probe));
}

// A shuffle exchanges registers. It orders no memory.
__global__ void shuffle_for_a_barrier_kernel(Probe probe) {
  store(own_slot(), input(probe));
  shuffle_xor(0.0f, 1);
  const auto value = load<1>(neighbour_slot());  // here
  sync_block();
  store(own_slot(), value);
  sync_block();
  store(probe.out + global_index(), load<1>(neighbour_slot()));
}

__global__ void blocks_that_meet_kernel(Probe probe) {
  store(probe.out + global_index(), input(probe));
  const int other = kSize - 1 - global_index();
  store(probe.out + other, load<1>(probe.in + other));  // here
}

__global__ void past_the_end_kernel(Probe probe) {
  const auto value = input(probe);
  const float next = load<1>(probe.in + global_index() + 1)[0];  // here
  store(probe.out + global_index(), next == -1.0f ? Vector<float, 1>{next} : value);
}

__global__ void overflow_kernel(Probe probe) {
  const int limit = INT_MAX - static_cast<int>(threadIdx.x) / kThreads;
  const int sum = limit + static_cast<int>(threadIdx.x);  // here
  store(probe.out + global_index(), sum == 5 ? Vector<float, 1>{5.0f} : input(probe));
}

struct Named {
  const char* name;
  void (*kernel)(Probe);
};

constexpr Named kProbes[] = {
    {"right", right_kernel},
    {"no_barrier", no_barrier_kernel},
    {"barrier_too_few", barrier_too_few_kernel},
    {"shuffle_for_a_barrier", shuffle_for_a_barrier_kernel},
    {"blocks_that_meet", blocks_that_meet_kernel},
    {"past_the_end", past_the_end_kernel},
    {"overflow", overflow_kernel},
};

// Memory as a sanitizer likes it: nothing of it belongs to anything else, and no map checks it.
int run(const Named& probe) {
  const auto in = std::make_unique<float[]>(kSize);
  const auto out = std::make_unique<float[]>(kSize);
  for (int i = 0; i < kSize; ++i) in[i] = static_cast<float>(i);
  emulation::Stream stream;
  const LaunchShape shape = {dim3(kBlocks), kThreads, kThreads * sizeof(float)};
  const cudaError_t status =
      launch_kernel(probe.kernel, shape, Probe{in.get(), out.get()}, &stream);
  const bool is_right = std::memcmp(in.get(), out.get(), kSize * sizeof(float)) == 0;
  std::printf("%s: status %d, %s\n", probe.name, status, is_right ? "right" : "wrong");
  return status == cudaSuccess && is_right ? 0 : 1;
}

}  // namespace
}  // namespace bertfast::testing

int main(int argc, char** argv) {
  using namespace bertfast::testing;
  for (const Named& probe : kProbes) {
    if (argc == 2 && std::strcmp(argv[1], probe.name) == 0) return run(probe);
  }
  return 2;
}
