// The emulation has to run right kernels right.
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/intrinsics_bits.cuh"
#include "tests/one_block.h"
#include "tests/testing.h"

namespace bertfast::testing {
namespace {

__global__ void reverse_kernel(Buffers buffers) {
  float* slots = shared_memory<float>();
  const int i = threadIdx.x;
  store(slots + i, load<1>(buffers.in + i));
  sync_block();
  store(buffers.out + i, load<1>(slots + kThreads - 1 - i));
}

void test_barrier_orders_memory() {
  for (uint64_t seed = 0; seed < 6; ++seed) {
    OneBlock block(seed);
    block.expect_runs(reverse_kernel);
    for (int i = 0; i < kThreads; ++i) expect(block.out.at(i) == kThreads - 1 - i, "reversed");
  }
}

__global__ void warp_sum_kernel(Buffers buffers) {
  store(buffers.out + threadIdx.x,
        Vector<float, 1>{warp_sum(load<1>(buffers.in + threadIdx.x)[0])});
}

void test_warps_sum_their_own_lanes() {
  OneBlock block;
  block.expect_runs(warp_sum_kernel);
  for (int i = 0; i < kThreads; ++i) {
    expect(block.out.at(i) == (i < kWarpSize ? 496 : 1520), "the sum of 32 lanes");
  }
}

__global__ void ballot_kernel(Buffers buffers) {
  const uint32_t odd_of_the_first_warp = ballot(threadIdx.x % 2 == 1 && threadIdx.x < kWarpSize);
  store(buffers.out + threadIdx.x, Vector<float, 1>{odd_of_the_first_warp == 0xaaaaaaaa ? 1.0f
                                                    : odd_of_the_first_warp == 0        ? 2.0f
                                                                                        : 3.0f});
}

void test_ballots_are_of_a_warp() {
  for (uint64_t seed = 0; seed < 4; ++seed) {
    OneBlock block(seed);
    block.expect_runs(ballot_kernel);
    for (int i = 0; i < kThreads; ++i) expect(block.out.at(i) == (i < kWarpSize ? 1 : 2), "votes");
  }
}

__global__ void reverse_warp_kernel(Buffers buffers) {
  float* slots = shared_memory<float>();
  const int i = threadIdx.x;
  store(slots + i, load<1>(buffers.in + i));
  sync_warp();
  store(buffers.out + i, load<1>(slots + (i ^ (kWarpSize - 1))));
}

void test_warp_barrier_orders_memory() {
  for (uint64_t seed = 0; seed < 6; ++seed) {
    OneBlock block(seed);
    block.expect_runs(reverse_warp_kernel);
    for (int i = 0; i < kThreads; ++i) expect(block.out.at(i) == (i ^ 31), "reversed");
  }
}

struct Census {
  int* counts;
};

__global__ void census_kernel(Census census) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  ++census.counts[block * blockDim.x + threadIdx.x];
}

void test_every_thread_runs_once() {
  for (uint64_t seed = 0; seed < 4; ++seed) {
    emulation::Stream stream;
    stream.schedule_seed = seed;
    std::vector<int> counts(2 * 3 * 4 * 40);
    launch_kernel(census_kernel, {dim3(2, 3, 4), 40}, Census{counts.data()}, &stream);
    expect(counts == std::vector<int>(counts.size(), 1), "each thread of each block, once");
  }
}

__global__ void unwritten_shared_memory_kernel(Buffers buffers) {
  store(buffers.out + threadIdx.x, load<1>(shared_memory<float>() + threadIdx.x));
}

void test_shared_memory_starts_as_nan() {
  OneBlock block;
  block.out.fill_normal(0, 0, 1);
  block.expect_runs(unwritten_shared_memory_kernel);
  for (int i = 0; i < kThreads; ++i) expect(std::isnan(block.out.at(i)), "poisoned");
}

// The first warp writes what the second reads: right as long as they run in order.
__global__ void missing_barrier_kernel(Buffers buffers) {
  float* slots = shared_memory<float>();
  const int i = threadIdx.x;
  if (i < kWarpSize) store(slots + i, load<1>(buffers.in + i));
  store(buffers.out + i, load<1>(slots + i % kWarpSize));
}

void test_schedules_uncover_a_missing_barrier() {
  for (const uint64_t seed : {0, 1, 2}) {
    OneBlock block(seed);
    block.expect_runs(missing_barrier_kernel);
    bool is_wrong = false;
    for (int i = 0; i < kThreads; ++i) is_wrong = is_wrong || std::isnan(block.out.at(i));
    expect(is_wrong == (seed != 0), "seed " + std::to_string(seed));
  }
}

void test_impossible_launches_are_refused() {
  const auto status = [](dim3 grid, int threads, size_t smem_bytes) {
    return launch_kernel(census_kernel, {grid, threads, smem_bytes}, Census{}, nullptr);
  };
  expect(status(dim3(0), 32, 0) == cudaErrorInvalidConfiguration, "empty grid");
  expect(status(dim3(1, 65536), 32, 0) == cudaErrorInvalidConfiguration, "too many rows of blocks");
  expect(status(dim3(1), 0, 0) == cudaErrorInvalidConfiguration, "empty block");
  expect(status(dim3(1), 1025, 0) == cudaErrorInvalidConfiguration, "too many threads");
  const size_t too_much = (99 << 10) + 1;
  expect(status(dim3(1), 32, too_much) == cudaErrorInvalidConfiguration, "too much shared memory");
}

__global__ void last_shared_byte_kernel(Census census) {
  constexpr size_t kSmemBytes = 99 << 10;
  store(shared_memory<int>() + kSmemBytes / sizeof(int) - 1, Vector<int, 1>{1});
  ++census.counts[0];
}

void test_shared_memory_goes_to_99_kb() {
  emulation::Stream stream;
  int count = 0;
  const cudaError_t status =
      launch_kernel(last_shared_byte_kernel, {dim3(1), 1, 99 << 10}, Census{&count}, &stream);
  expect(status == cudaSuccess && count == 1, stream.error);
}

}  // namespace
}  // namespace bertfast::testing

int main() {
  using namespace bertfast::testing;
  return run_tests({
      {"a barrier orders memory", test_barrier_orders_memory},
      {"warps sum their own lanes", test_warps_sum_their_own_lanes},
      {"ballots are of a warp", test_ballots_are_of_a_warp},
      {"a warp barrier orders memory", test_warp_barrier_orders_memory},
      {"every thread runs once", test_every_thread_runs_once},
      {"shared memory starts as NaN", test_shared_memory_starts_as_nan},
      {"schedules uncover a missing barrier", test_schedules_uncover_a_missing_barrier},
      {"impossible launches are refused", test_impossible_launches_are_refused},
      {"shared memory goes to 99 KB", test_shared_memory_goes_to_99_kb},
  });
}
