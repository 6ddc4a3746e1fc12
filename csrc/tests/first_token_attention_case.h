// A problem for first_token_attention with all its tensors, and its solution.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "kernels/first_token_attention.h"
#include "tests/tensor.h"
#include "tests/testing.h"

namespace bertfast::testing::first_token {
using emulation::Stream;

// Of the float arithmetic, for values of a few units.
inline constexpr double kFloatError = 4e-6;

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

}  // namespace bertfast::testing::first_token
