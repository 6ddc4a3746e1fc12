#include "kernels/varlen_attention.h"

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "kernels/varlen_attention_tiles.cuh"
#include "tests/attention_run.h"
#include "tests/testing.h"

namespace bertfast::testing {
namespace {

constexpr DType kF32 = DType::kFloat32, kF16 = DType::kFloat16, kBF16 = DType::kBFloat16;
constexpr int kTuring = 75, kAmpere = 80;

// The ways through the launcher, but for the length.
struct Path {
  DType dtype;
  int head_size;
  int compute_capability;
};

const std::vector<Path> kPaths = {
    {kF16, 64, kAmpere},  {kBF16, 64, kAmpere}, {kF16, 64, kTuring},  {kF16, 32, kAmpere},
    {kBF16, 32, kAmpere}, {kF16, 32, kTuring},  {kF16, 128, kAmpere}, {kBF16, 128, kAmpere},
    {kF16, 128, kTuring}, {kF32, 64, kAmpere},  {kF32, 40, kTuring},  {kF16, 40, kAmpere},
    {kF32, 200, kAmpere},
};

AttentionProblem problem_of(const Path& path, const std::vector<int>& lengths,
                            const std::vector<int>& keys = {}) {
  AttentionProblem problem = {path.dtype, path.head_size, lengths, keys};
  problem.compute_capability = path.compute_capability;
  return problem;
}

// A batch for each kernel that the launcher may choose.
const std::vector<std::vector<int>> kBatches = {{33, 0, 1, 50}, {100, 17, 0, 2}, {140, 0, 40, 1}};

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
  const Path paths[num_paths] = {{kF16, 32, kAmpere}, {kF16, 64, kAmpere}, {kBF16, 64, kAmpere},
                                 {kF16, 64, kTuring}, {kF32, 64, kAmpere}, {kBF16, 40, kAmpere}};
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
  for (const Path& path : some_of(kPaths)) {
    for (const auto& lengths : kBatches) {
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
    for (const Path& path : {Path{kF16, 32, kAmpere}, {kF32, 8, kAmpere}}) {
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
  for (const Path& path : some_of(kPaths)) {
    AttentionRun(problem_of(path, {33, 20, 1, 50}, {0, 19, 0, 1})).launch_and_check();
    AttentionRun(problem_of(path, {128, 17, 1, 9}, {64, 0, 1, 9})).launch_and_check();
    AttentionRun(problem_of(path, {135, 7, 10, 130}, {128, 0, 0, 65})).launch_and_check();
  }
}

void test_no_keys_give_zero() {
  for (const Path& path : some_of(kPaths)) {
    for (const auto& lengths : kBatches) {
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
  for (const Path& path : some_of(kPaths)) {
    for (const auto& lengths : kBatches) {
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
  for (const Path& path : some_of(kPaths)) {
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

void test_large_scores() {
  for (const Path& path : some_of(kPaths)) {
    for (const auto& lengths : kBatches) {
      AttentionProblem problem = problem_of(path, lengths);
      problem.deviation = 60.0;  // scores of some 1e4
      AttentionRun(problem).launch_and_check();
    }
  }
}

// The mean of the values.
void test_equal_scores() {
  for (const Path& path : some_of(kPaths)) {
    for (const auto& lengths : kBatches) {
      AttentionRun run(problem_of(path, lengths));
      for (int i = 0; i < 4; ++i) run.fill(i, 0, lengths[i], 0, 0.0);
      run.launch_and_check();
    }
  }
}

void test_misaligned_tensors() {
  for (const DType dtype : kDTypes) {
    AttentionProblem problem = {dtype, 64, {65, 3}};
    problem.skipped = 1;
    AttentionRun(problem).launch_and_check();
  }
}

void test_empty() {
  AttentionRun({kF16, 64, {}}).launch();
  AttentionRun({kF16, 64, {0, 0}}).launch();
  AttentionRun({kF32, 0, {3}}).launch();
}

// Beyond 2^32 elements: only the end of qkv and out exists, and only its blocks run.
void test_offsets_are_64_bit() {
  constexpr int64_t kTokens = 30000000;
  for (const int length : {20, 100, 140}) {
    for (const Path& path : some_of(kPaths)) {
      AttentionProblem problem = problem_of(path, {length});
      problem.num_heads = 3;
      AttentionRun run(problem);
      VarlenAttentionParams params = run.params();
      const int64_t row = 3 * path.head_size;
      params.qkv = run.qkv.begin_as_end_of(kTokens * 3 * row);
      params.out = run.out.begin_as_end_of(kTokens * row);
      params.num_tokens = kTokens;
      params.num_sequences = 2;
      const int32_t start = static_cast<int32_t>(kTokens) - length;
      const std::vector<int32_t> cu_seqlens = {0, start, start + length};
      run.stream.memory.add(cu_seqlens.data(), sizeof(int32_t) * 3, "cu_seqlens");
      params.cu_seqlens = cu_seqlens.data();
      const bool is_exact = path.dtype == kF32 || path.head_size == 40;
      const bool is_short = !is_exact && length <= (path.head_size == 128 ? 64 : 128);
      const int tile_rows = is_exact && path.head_size > 128 ? 32 : 64;
      run.stream.first_block = 3 * (is_short ? 1 : start / tile_rows + 1);
      run.launch(params);
      run.check();
    }
  }
}

void test_impossible_params() {
  AttentionRun run({kF16, 64, {5}});
  const auto is_refused = [&](const std::string& what, auto change) {
    VarlenAttentionParams params = run.params();
    change(params);
    expect(launch_varlen_attention(params, &run.stream) == cudaErrorInvalidValue, what);
  };
  using Params = VarlenAttentionParams;
  is_refused("heads too large", [](Params& p) { p.head_size = kMaxHeadSize + 1; });
  is_refused("rows too long", [](Params& p) { p.num_heads = 1 << 18; });
  is_refused("offsets do not fit", [](Params& p) { p.num_tokens = int64_t{1} << 31; });
  is_refused("too many blocks",
             [](Params& p) { p.num_tokens = 2147483647, p.num_heads = 4096, p.max_seqlen = 300; });
  is_refused("too many short blocks",
             [](Params& p) { p.num_sequences = 2147483647, p.num_heads = 2; });
  is_refused("no longest sequence", [](Params& p) { p.max_seqlen = 0; });
  is_refused("a device too old", [](Params& p) { p.compute_capability = 70; });
  is_refused("a dtype that the device has not",
             [](Params& p) { p.dtype = kBF16, p.compute_capability = kTuring; });
  is_refused("unknown dtype", [](Params& p) { p.dtype = static_cast<DType>(7); });
  for (const float scale : {0.0f, -1.0f, INFINITY, NAN}) {
    is_refused("scale " + std::to_string(scale), [&](Params& p) { p.scale = scale; });
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
      {"tiles fit sequences", test_tiles_fit_sequences},
      {"key lengths", test_key_lengths},
      {"no keys give zero", test_no_keys_give_zero},
      {"schedules", test_schedules},
      {"strangers are not seen", test_strangers_are_not_seen},
      {"large scores", test_large_scores},
      {"equal scores", test_equal_scores},
      {"misaligned tensors", test_misaligned_tensors},
      {"empty", test_empty},
      {"offsets are 64-bit", test_offsets_are_64_bit},
      {"impossible params", test_impossible_params},
  });
}
