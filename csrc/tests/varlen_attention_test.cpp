// The kernels of the attention at all sizes and layouts.
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "kernels/varlen_attention_tiles.cuh"
#include "tests/attention_paths.h"
#include "tests/testing.h"

namespace bertfast::testing {
namespace {

void test_head_sizes() {
  for (const DType dtype : kDTypes) {
    for (const int head_size : {1, 7, 32, 40, 64, 128, 200, 256}) {
      for (const auto& lengths : {std::vector<int>{20}, {70}, {130}}) {
        AttentionRun({dtype, head_size, lengths}).launch_and_check();
      }
    }
  }
}

// Each length takes another path than its neighbours.
void test_every_length() {
  constexpr int num_paths = 6;  // the cheaper ones
  const AttentionPath paths[num_paths] = {{kF16, 32, kAmpere},  {kF16, 64, kAmpere},
                                          {kBF16, 64, kAmpere}, {kF16, 64, kTuring},
                                          {kF32, 64, kAmpere},  {kBF16, 40, kAmpere}};
  for (int path = 0; path < num_paths; ++path) {
    for (const auto& [shortest, longest] : {std::pair(1, 64), {65, 128}, {129, 300}}) {
      std::vector<int> lengths;
      for (int length = longest; length >= shortest; --length) {
        if (length % num_paths == path) lengths.push_back(length);
      }
      AttentionRun(problem_of(paths[path], lengths)).launch_and_check();
    }
  }
}

void test_ragged_batches() {
  for (const AttentionPath& path : some_of(kAttentionPaths)) {
    for (const auto& lengths : kAttentionBatches) {
      AttentionProblem problem = problem_of(path, lengths);
      problem.num_heads = 2;
      AttentionRun(problem).launch_and_check();
    }
  }
  AttentionRun({kF16, 64, {0, 0, 3, 0}}).launch_and_check();
}

// More sequences than the lanes of a warp look at in one round, and in two.
void test_many_sequences() {
  for (const int num_sequences : some_of<int>({31, 32, 33, 1023, 1025})) {
    for (const AttentionPath& path : {AttentionPath{kF16, 32, kAmpere}, {kF32, 8, kAmpere}}) {
      std::mt19937_64 random(num_sequences);
      AttentionProblem problem = problem_of(path, {});
      for (int i = 0; i < num_sequences; ++i) {
        problem.lengths.push_back(random() % 16 == 0 ? random() % 70 : 0);
      }
      problem.max_seqlen = 129;
      AttentionRun(problem).launch_and_check();
    }
  }
}

// A buffer may be larger than what is packed in it: rows after the last sequence are nobody's.
void test_rows_after_the_last_sequence() {
  for (const AttentionPath& path : some_of(kAttentionPaths)) {
    for (const auto& lengths : kAttentionBatches) {
      AttentionRun run(problem_of(path, lengths));
      VarlenAttentionParams params = run.params();
      params.num_tokens += 300;  // neither qkv nor out has them
      run.launch(params);
      run.check();
    }
  }
}

void test_tiles_fit_sequences() {
  constexpr int kRows = 64;
  std::mt19937_64 random(1);
  int64_t first_row = 0;
  for (int64_t sequence = 0; sequence < 10000; ++sequence) {
    const int64_t length = random() % 3 == 0 ? 0 : random() % 200;
    const int64_t tiles = first_tile<kRows>(first_row + length, sequence + 1) -
                          first_tile<kRows>(first_row, sequence);
    const int64_t needed = (length + kRows - 1) / kRows;
    expect(tiles == needed || tiles == needed + 1, "enough, and at most one too many");
    first_row += length;
  }
}

void test_key_lengths() {
  for (const AttentionPath& path : some_of(kAttentionPaths)) {
    AttentionRun(problem_of(path, {33, 20, 1, 50}, {0, 19, 0, 1})).launch_and_check();
    AttentionRun(problem_of(path, {128, 17, 1, 9}, {64, 0, 1, 9})).launch_and_check();
    AttentionRun(problem_of(path, {135, 7, 10, 130}, {128, 0, 0, 65})).launch_and_check();
  }
}

void test_no_keys_give_zero() {
  for (const AttentionPath& path : some_of(kAttentionPaths)) {
    for (const auto& lengths : kAttentionBatches) {
      AttentionRun run(problem_of(path, lengths, std::vector<int>(lengths.size(), 0)));
      run.launch();
      for (int64_t i = 0; i < run.out.size(); ++i) {
        expect(run.out.at(i) == 0.0, run.problem.label() + ": not 0");
      }
    }
  }
}

// Every schedule has to give the same bits.
void test_schedules() {
  for (const AttentionPath& path : some_of(kAttentionPaths)) {
    for (const auto& lengths : kAttentionBatches) {
      AttentionRun first(problem_of(path, lengths));
      first.launch();
      for (uint64_t seed = 1; seed < 4; ++seed) {
        AttentionProblem problem = problem_of(path, lengths);
        problem.seed = seed;
        AttentionRun other(problem);
        other.launch();
        expect(other.out.bytes() == first.out.bytes(), problem.label() + ": other bits");
      }
    }
  }
}

// What another sequence, or another row that is no key, holds must not show: not even NaN.
void test_strangers_are_not_seen() {
  for (const AttentionPath& path : some_of(kAttentionPaths)) {
    for (const auto& lengths : {std::vector<int>{30, 10, 20}, {80, 10, 20}, {135, 10, 20}}) {
      const std::vector<int> keys = {lengths[0] - 20, 10, lengths[2]};
      AttentionRun clean(problem_of(path, lengths, keys)), spoilt(clean.problem);
      clean.launch();
      for (const int part : {0, 1, 2}) spoilt.fill(1, 0, 10, part, NAN);
      for (const int part : {1, 2}) spoilt.fill(0, keys[0], lengths[0], part, NAN);
      spoilt.launch();
      for (int64_t i = 0; i < clean.out.size(); ++i) {
        const bool is_spoilt = i >= clean.out_offset(1, 0) && i < clean.out_offset(2, 0);
        expect(is_spoilt ? std::isnan(spoilt.out.at(i)) : spoilt.out.at(i) == clean.out.at(i),
               clean.problem.label() + ": element " + std::to_string(i));
      }
    }
  }
}

}  // namespace
}  // namespace bertfast::testing

int main() {
  using namespace bertfast::testing;
  return run_tests({
      {"head sizes", test_head_sizes},
      {"every length", test_every_length},
      {"ragged batches", test_ragged_batches},
      {"many sequences", test_many_sequences},
      {"rows after the last sequence", test_rows_after_the_last_sequence},
      {"tiles fit sequences", test_tiles_fit_sequences},
      {"key lengths", test_key_lengths},
      {"no keys give zero", test_no_keys_give_zero},
      {"schedules", test_schedules},
      {"strangers are not seen", test_strangers_are_not_seen},
  });
}
