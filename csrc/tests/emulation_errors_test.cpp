// The emulation must not let wrong kernels pass, and has to say what is wrong where.
#include <cstdint>
#include <string>
#include <vector>

#include "tests/one_block.h"
#include "tests/testing.h"

namespace bertfast::testing {
namespace {

Vector<float, 1> scalar(float value) { return {value}; }

__global__ void right_kernel(Buffers buffers) {
  sync_block();
  store(buffers.out + threadIdx.x, load<1>(buffers.in + threadIdx.x));
}

__global__ void divergent_shuffle_kernel(Buffers buffers) {
  float value = load<1>(buffers.in + threadIdx.x)[0];
  if (threadIdx.x % kWarpSize < 16) {
    value = shuffle_xor(value, 1);
  } else {
    value = shuffle_xor(value, 2);
  }
  store(buffers.out + threadIdx.x, scalar(value));
}

__global__ void half_warp_shuffle_kernel(Buffers buffers) {
  if (threadIdx.x % kWarpSize >= 16) return;
  store(buffers.out + threadIdx.x, scalar(warp_sum(1.0f)));
}

__global__ void half_block_barrier_kernel(Buffers) {
  if (threadIdx.x < kWarpSize) sync_block();
}

__global__ void two_barriers_kernel(Buffers) {
  if (threadIdx.x < kWarpSize) {
    sync_block();
  } else {
    sync_block();
  }
}

__global__ void mixed_collectives_kernel(Buffers) {
  if (threadIdx.x % 2 == 0) {
    sync_block();
  } else {
    warp_sum(1.0f);
  }
}

__global__ void read_past_the_end_kernel(Buffers buffers) {
  store(buffers.out + threadIdx.x, load<1>(buffers.in + threadIdx.x + 1));
}

__global__ void write_before_the_start_kernel(Buffers buffers) {
  store(buffers.in + threadIdx.x - 1, scalar(0.0f));
}

__global__ void shared_past_the_end_kernel(Buffers) {
  store(shared_memory<float>() + threadIdx.x + 1, scalar(0.0f));
}

__global__ void misaligned_kernel(Buffers buffers) {
  if (threadIdx.x == 5) store(buffers.out, load<4>(buffers.in + 1));
}

void test_errors_name_cause_and_place() {
  struct Case {
    void (*kernel)(Buffers);
    std::vector<std::string> parts;
  };
  const std::vector<Case> cases = {
      {divergent_shuffle_kernel, {"divergent shuffle_xor", "thread 0 waits in shuffle_xor"}},
      {half_warp_shuffle_kernel,
       {"deadlock in block (0, 0, 0)", "thread 0 and 31 others wait in shuffle_xor",
        "32 of 64 threads have returned"}},
      {half_block_barrier_kernel, {"thread 0 and 31 others wait in sync_block"}},
      {two_barriers_kernel, {"divergent sync_block", "thread 32: warp 1, lane 0"}},
      {mixed_collectives_kernel, {"divergent shuffle_xor", "waits in sync_block"}},
      {read_past_the_end_kernel, {"out of bounds", "byte 256 of in (256 bytes)", "thread 63"}},
      {write_before_the_start_kernel, {"out of bounds: 4 bytes at", "thread 0"}},
      {shared_past_the_end_kernel, {"out of bounds", "thread 63"}},
      {misaligned_kernel, {"misaligned access to 16 bytes at byte 4 of in", "thread 5"}},
  };
  for (const Case& wrong : cases) {
    for (const uint64_t seed : {0, 3}) {
      const std::string error = OneBlock(seed).run(wrong.kernel);
      expect_contains(error, "csrc/tests/emulation_errors_test.cpp:");
      if (seed != 0) continue;  // which thread comes first is the schedule's choice
      for (const std::string& part : wrong.parts) expect_contains(error, part);
    }
  }
}

void test_launches_go_on_after_an_error() {
  OneBlock block;
  expect(!block.run(half_block_barrier_kernel).empty(), "an error");
  block.expect_runs(right_kernel);
  expect(block.out.at(kThreads - 1) == kThreads - 1, "copied");
}

}  // namespace
}  // namespace bertfast::testing

int main() {
  using namespace bertfast::testing;
  return run_tests({
      {"errors name cause and place", test_errors_name_cause_and_place},
      {"launches go on after an error", test_launches_go_on_after_an_error},
  });
}
