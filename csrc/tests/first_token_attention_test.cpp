#include "kernels/first_token_attention.h"

#include <algorithm>
#include <climits>
#include <cmath>
#include <string>
#include <vector>

#include "tests/tensor.h"
#include "tests/testing.h"

namespace bertfast::testing {
namespace {

using emulation::Stream;

// Of the float arithmetic, for values of a few units.
constexpr double kFloatError = 4e-6;

struct Problem {
  DType dtype;
  int head_size;
  std::vector<int> lengths = {1, 7, 130, 0, 33};
  std::vector<int> keys = {};  // of each sequence; empty: all its rows
  int num_heads = 2;
  uint64_t seed = 0;
  int skipped = 0;  // elements before the tensors, from an aligned address on
  double deviation = 1.0;
};

struct Run {
  Problem problem;
  Stream stream;
  int num_sequences, num_tokens = 0;
  std::vector<int32_t> offsets = {0}, keys;
  Tensor query, key_value, out;

  explicit Run(const Problem& p)
      : problem(p),
        num_sequences(static_cast<int>(p.lengths.size())),
        offsets(add_up(p.lengths)),
        keys(p.keys.begin(), p.keys.end()),
        query(tensor("query", num_sequences)),
        key_value(tensor("key_value", 2 * int64_t{offsets.back()})),
        out(tensor("out", num_sequences)) {
    num_tokens = offsets.back();
    stream.schedule_seed = p.seed;
    stream.memory.add(offsets.data(), offsets.size() * sizeof(int32_t), "cu_seqlens");
    stream.memory.add(keys.data(), keys.size() * sizeof(int32_t), "key_lengths");
    query.fill_normal(1, 0.0, p.deviation);
    key_value.fill_normal(2, 0.3, p.deviation);
  }

  static std::vector<int32_t> add_up(const std::vector<int>& lengths) {
    std::vector<int32_t> sums = {0};
    for (const int length : lengths) sums.push_back(sums.back() + length);
    return sums;
  }

  Tensor tensor(const std::string& name, int64_t rows) {
    const int64_t size = rows * problem.num_heads * problem.head_size;
    return Tensor(stream, name, problem.dtype, size, problem.skipped);
  }

  std::string label() const {
    return to_string(problem.dtype) + ", D " + std::to_string(problem.head_size) + ", seed " +
           std::to_string(problem.seed);
  }

  FirstTokenAttentionParams params() {
    FirstTokenAttentionParams params = {};
    params.query = query.data();
    params.key_value = key_value.data();
    params.cu_seqlens = offsets.data();
    params.key_lengths = keys.empty() ? nullptr : keys.data();
    params.out = out.data();
    params.num_tokens = num_tokens;
    params.num_sequences = num_sequences;
    params.num_heads = problem.num_heads;
    params.head_size = problem.head_size;
    params.scale = 1.0f / std::sqrt(static_cast<float>(std::max(problem.head_size, 1)));
    params.dtype = problem.dtype;
    return params;
  }

  void launch(const FirstTokenAttentionParams& params) {
    const cudaError_t status = launch_first_token_attention(params, &stream);
    expect(status == cudaSuccess, label() + ": " + stream.error);
  }

  double element(int sequence, int key, int part, int column) {
    const int64_t row = 2 * int64_t{offsets[sequence] + key} + part;
    return key_value.at(row * problem.num_heads * problem.head_size + column);
  }

  // One head of one sequence, appended to `want`.
  void solve(int sequence, int head, std::vector<double>& want) {
    const int size = problem.head_size;
    const int num_keys = keys.empty() ? problem.lengths[sequence] : keys[sequence];
    std::vector<double> weights(num_keys), sums(size);
    double largest = -INFINITY, total = 0.0;
    for (int key = 0; key < num_keys; ++key) {
      for (int i = 0; i < size; ++i) {
        const int column = head * size + i;
        weights[key] += query.at(sequence * int64_t{problem.num_heads} * size + column) *
                        element(sequence, key, 0, column);
      }
      weights[key] *= params().scale;
      largest = std::max(largest, weights[key]);
    }
    for (double& weight : weights) total += weight = std::exp(weight - largest);
    for (int key = 0; key < num_keys; ++key) {
      for (int i = 0; i < size; ++i) {
        sums[i] += weights[key] / total * element(sequence, key, 1, head * size + i);
      }
    }
    want.insert(want.end(), sums.begin(), sums.end());
  }

  void check(double float_error = kFloatError) {
    std::vector<double> want;
    for (int i = 0; i < num_sequences * problem.num_heads; ++i) {
      solve(i / problem.num_heads, i % problem.num_heads, want);
    }
    expect_close(out, want, problem.dtype, float_error, label());
  }

  void launch_and_check() {
    launch(params());
    check();
  }
};

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
}  // namespace bertfast::testing

int main() {
  using namespace bertfast::testing;
  return run_tests({
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
