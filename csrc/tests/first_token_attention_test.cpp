#include <climits>
#include <cmath>
#include <string>
#include <vector>

#include "tests/first_token_attention_case.h"
#include "tests/testing.h"

namespace bertfast::testing::first_token {
namespace {

void test_head_sizes() {
  for (const DType dtype : kDTypes) {
    for (const int size : some_of<int>({1, 7, 8, 16, 31, 32, 40, 64, 65, 96, 128, 200, 256})) {
      Run({dtype, size}).launch_and_check();
    }
  }
}

void test_every_length() {
  for (const DType dtype : kDTypes) {
    for (int length = 1; length <= 150; length += is_brief() ? 13 : 1) {
      Run({dtype, 64, {length}, {}, 1}).launch_and_check();
    }
  }
}

void test_key_lengths() {
  for (const DType dtype : kDTypes) {
    for (const int size : {5, 32, 128}) {
      Run run({dtype, size, {9, 4, 70, 0}, {3, 0, 70, 0}});
      // What is no key reaches nothing.
      for (int i = 0; i < 2 * size; ++i) {
        run.key_value.set((2 * 3 + 0) * 2 * size + i, NAN);
        run.key_value.set((2 * 3 + 1) * 2 * size + i, NAN);
      }
      run.launch_and_check();
    }
  }
}

void test_large_scores() {
  Problem problem = {DType::kFloat32, 64};
  problem.deviation = 30.0;
  Run run(problem);
  run.launch(run.params());
  run.check(5e-2);  // scores of a thousand, each off by its rounding
}

void test_misaligned_tensors() {
  for (const DType dtype : kDTypes) {
    Problem problem = {dtype, 64};
    problem.skipped = 1;
    Run(problem).launch_and_check();
  }
}

void test_schedules() {
  for (const int size : {32, 200}) {
    Problem problem = {DType::kFloat16, size};
    Run first(problem);
    first.launch_and_check();
    for (problem.seed = 1; problem.seed < 6; ++problem.seed) {
      Run other(problem);
      other.launch_and_check();
      expect(other.out.bytes() == first.out.bytes(), other.label() + ": other bits");
    }
  }
}

// Only rows of key_value are read, and every row of out is written.
void test_whatever_the_arrays_hold() {
  for (const int size : {33, 64}) {
    for (const int32_t wrong : {-1, 171, 172, INT_MIN, INT_MAX}) {
      for (int i = 0; i < 6; ++i) {
        Run run({DType::kFloat16, size, {1, 7, 130, 0, 33}, {1, 7, 130, 0, 33}});
        run.offsets[i] = wrong;
        run.keys[i % 5] = wrong;
        run.launch(run.params());
        for (int64_t j = 0; j < run.out.size(); ++j) {
          expect(std::isfinite(run.out.at(j)), "a number in each place");
        }
      }
    }
  }
}

void test_nothing_to_do() {
  Run({DType::kFloat32, 64, {}}).launch_and_check();
  Run({DType::kFloat32, 0}).launch_and_check();
}

// Beyond 2^32 elements: only the end of key_value exists.
void test_offsets_are_64_bit() {
  constexpr int64_t kTokens = 30000000;
  Run run({DType::kFloat16, 64, {20}, {}, 3});
  FirstTokenAttentionParams params = run.params();
  params.key_value = run.key_value.begin_as_end_of(kTokens * 2 * 3 * 64);
  params.num_tokens = kTokens;
  const std::vector<int32_t> offsets = {kTokens - 20, kTokens};
  run.stream.memory.add(offsets.data(), 2 * sizeof(int32_t), "cu_seqlens");
  params.cu_seqlens = offsets.data();
  run.launch(params);
  run.check();
}

void test_impossible_params() {
  Run run({DType::kFloat32, 8});
  const auto is_refused = [&](auto change) {
    FirstTokenAttentionParams params = run.params();
    change(params);
    return launch_first_token_attention(params, &run.stream) == cudaErrorInvalidValue;
  };
  expect(is_refused([](auto& p) { p.head_size = kMaxHeadSize + 1; }), "heads too large");
  expect(is_refused([](auto& p) { p.num_tokens = int64_t{1} << 31; }), "offsets do not fit");
  expect(is_refused([](auto& p) { p.num_sequences = -1; }), "fewer sequences than none");
  expect(is_refused([](auto& p) { p.num_sequences = INT_MAX; }), "too many blocks");
  expect(is_refused([](auto& p) { p.dtype = static_cast<DType>(7); }), "unknown dtype");
  for (const float scale : {0.0f, -1.0f, INFINITY, NAN}) {
    expect(is_refused([&](auto& p) { p.scale = scale; }), "scale " + std::to_string(scale));
  }
}

}  // namespace
}  // namespace bertfast::testing::first_token

int main() {
  using namespace bertfast::testing::first_token;
  return bertfast::testing::run_tests({
      {"head sizes", test_head_sizes},
      {"every length", test_every_length},
      {"key lengths", test_key_lengths},
      {"large scores", test_large_scores},
      {"misaligned tensors", test_misaligned_tensors},
      {"schedules", test_schedules},
      {"whatever the arrays hold", test_whatever_the_arrays_hold},
      {"nothing to do", test_nothing_to_do},
      {"offsets are 64-bit", test_offsets_are_64_bit},
      {"impossible params", test_impossible_params},
  });
}
