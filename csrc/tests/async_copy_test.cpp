// Asynchronous copies: what they bring when waited for, and every way to touch them too early.
#include <string>
#include <vector>

#include "kernels/intrinsics_async_copy.cuh"
#include "kernels/intrinsics_tensor_core.cuh"
#include "tests/one_block.h"
#include "tests/testing.h"

namespace bertfast::testing {
namespace {

constexpr int kVector = 4;                   // floats of one copy
constexpr int kCopies = kThreads / kVector;  // cover the buffers; by the first lanes of warp 0

__device__ float* slot(int i) { return shared_memory<float>() + i * kVector; }

__device__ void start_copy(Buffers buffers, int i, bool is_present = true) {
  copy_async(slot(i), buffers.in + i * kVector, is_present);
}

__device__ void put_out(Buffers buffers) {
  store(buffers.out + threadIdx.x, load<1>(shared_memory<float>() + threadIdx.x));
}

__global__ void copy_or_zero_kernel(Buffers buffers) {
  const int i = threadIdx.x;
  if (i < kCopies) start_copy(buffers, i, i % 2 == 0);
  commit_copies();
  wait_for_copies<0>();
  sync_block();
  put_out(buffers);
}

void test_copies_arrive() {
  for (uint64_t seed = 0; seed < 6; ++seed) {
    OneBlock block(seed);
    block.expect_runs(copy_or_zero_kernel);
    for (int i = 0; i < kThreads; ++i) {
      expect(block.out.at(i) == (i / kVector % 2 == 0 ? i : 0), "copied, or zero where absent");
    }
  }
}

__global__ void absent_everywhere_kernel(Buffers buffers) {
  if (threadIdx.x < kCopies) copy_async(slot(threadIdx.x), buffers.in + 1000001, false);
  commit_copies();
  wait_for_copies<0>();
  sync_block();
  put_out(buffers);
}

void test_an_absent_source_is_not_read() {
  OneBlock block;
  block.expect_runs(absent_everywhere_kernel);
  for (int i = 0; i < kThreads; ++i) expect(block.out.at(i) == 0, "zero");
}

// One thread, two groups: the older may be read while the younger is on its way.
__global__ void two_groups_kernel(Buffers buffers) {
  if (threadIdx.x > 0) return;
  start_copy(buffers, 0);
  commit_copies();
  start_copy(buffers, 1);
  commit_copies();
  wait_for_copies<1>();
  store(buffers.out, load<4>(slot(0)));
  wait_for_copies<0>();
  store(buffers.out + kVector, load<4>(slot(1)));
}

void test_groups_are_waited_for_in_order() {
  OneBlock block;
  block.expect_runs(two_groups_kernel);
  for (int i = 0; i < 2 * kVector; ++i) expect(block.out.at(i) == i, "copied");
}

__global__ void no_wait_kernel(Buffers buffers) {
  if (threadIdx.x < kCopies) start_copy(buffers, threadIdx.x);
  commit_copies();
  sync_block();
  put_out(buffers);
}

__global__ void newest_group_kernel(Buffers buffers) {
  if (threadIdx.x < kCopies) start_copy(buffers, threadIdx.x);
  commit_copies();
  wait_for_copies<1>();
  sync_block();
  put_out(buffers);
}

__global__ void no_commit_kernel(Buffers buffers) {
  if (threadIdx.x < kCopies) start_copy(buffers, threadIdx.x);
  wait_for_copies<0>();
  sync_block();
  put_out(buffers);
}

__global__ void barrier_before_wait_kernel(Buffers buffers) {
  if (threadIdx.x < kCopies) start_copy(buffers, threadIdx.x);
  commit_copies();
  sync_block();
  wait_for_copies<0>();
  put_out(buffers);
}

__global__ void never_waited_for_kernel(Buffers buffers) {
  if (threadIdx.x == 3) start_copy(buffers, 3);
}

__global__ void overwritten_kernel(Buffers buffers) {
  if (threadIdx.x == 3) start_copy(buffers, 3);
  if (threadIdx.x == 3) store(slot(3), Vector<float, 1>{0.0f});
}

__global__ void copied_twice_kernel(Buffers buffers) {
  if (threadIdx.x != 3) return;
  start_copy(buffers, 0);
  start_copy(buffers, 0);
}

__global__ void matrix_row_kernel(Buffers buffers) {
  if (threadIdx.x < kCopies) start_copy(buffers, threadIdx.x);
  uint32_t fragments[2];
  load_matrices<false>(fragments, reinterpret_cast<float16*>(slot(threadIdx.x % kCopies)));
}

__global__ void misaligned_source_kernel(Buffers buffers) {
  if (threadIdx.x == 3) copy_async(slot(0), buffers.in + 1, true);
}

__global__ void misaligned_target_kernel(Buffers buffers) {
  if (threadIdx.x == 3) copy_async(slot(0) + 2, buffers.in, true);
}

__global__ void target_past_the_end_kernel(Buffers buffers) {
  if (threadIdx.x == 3) copy_async(slot(kCopies), buffers.in, true);
}

__global__ void source_past_the_end_kernel(Buffers buffers) {
  if (threadIdx.x == 3) copy_async(slot(0), buffers.in + kThreads, true);
}

__global__ void global_target_kernel(Buffers buffers) {
  if (threadIdx.x == 3) copy_async(buffers.out, buffers.in, true);
}

void test_errors_name_cause_and_place() {
  const std::string too_early = "touches the destination of an async copy that thread ";
  struct Case {
    void (*kernel)(Buffers);
    std::string cause;
  };
  const std::vector<Case> cases = {
      {no_wait_kernel, too_early},
      {newest_group_kernel, too_early},
      {no_commit_kernel, too_early},
      {never_waited_for_kernel, "async copy never waited for"},
      {overwritten_kernel, too_early},
      {copied_twice_kernel, too_early},
      {matrix_row_kernel, too_early},
      {misaligned_source_kernel, "misaligned access to 16 bytes at byte 4 of in"},
      {misaligned_target_kernel, "misaligned access to 16 bytes"},
      {target_past_the_end_kernel, "out of bounds: 16 bytes"},
      {source_past_the_end_kernel, "out of bounds: 16 bytes at byte 256 of in (256 bytes)"},
      {global_target_kernel, "not in shared memory: 16 bytes at byte 0 of out"},
  };
  for (const Case& wrong : cases) {
    for (const uint64_t seed : {1, 2, 3}) {
      const std::string error = OneBlock(seed).run(wrong.kernel);
      expect_contains(error, "csrc/tests/async_copy_test.cpp:");
      expect_contains(error, wrong.cause);
      expect_contains(error, "[block (0, 0, 0), thread ");
    }
  }
}

// Right as long as every thread waits before another goes on.
void test_schedules_uncover_a_wait_after_the_barrier() {
  expect(OneBlock(0).run(barrier_before_wait_kernel).empty(), "in order, nothing shows");
  expect_contains(OneBlock(1).run(barrier_before_wait_kernel), "has not waited for");
}

}  // namespace
}  // namespace bertfast::testing

int main() {
  using namespace bertfast::testing;
  return run_tests({
      {"copies arrive", test_copies_arrive},
      {"an absent source is not read", test_an_absent_source_is_not_read},
      {"groups are waited for in order", test_groups_are_waited_for_in_order},
      {"errors name cause and place", test_errors_name_cause_and_place},
      {"schedules uncover a wait after the barrier",
       test_schedules_uncover_a_wait_after_the_barrier},
  });
}
