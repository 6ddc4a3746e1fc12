// The softmax of the attention where scores are large, equal, or not finite.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "tests/attention_paths.h"
#include "tests/testing.h"

namespace bertfast::testing {
namespace {

void fill_all(AttentionRun& run, double query, double key) {
  for (size_t i = 0; i < run.problem.lengths.size(); ++i) {
    run.fill(i, 0, run.problem.lengths[i], 0, query);
    run.fill(i, 0, run.problem.lengths[i], 1, key);
  }
}

// All queries of a sequence give the mean of the values from row `first` on, up to `last`; 0 if
// there are none.
void check_means(const AttentionRun& run, int first, int last = 1000) {
  const int head_size = run.problem.head_size;
  for (size_t i = 0; i < run.problem.lengths.size(); ++i) {
    const int length = run.problem.lengths[i];
    const int num_values = std::max(std::min(length, last) - first, 0);
    for (int column = 0; column < head_size; ++column) {
      double sum = 0.0, magnitude = 0.0;
      for (int row = first; row < first + num_values; ++row) {
        const double value = run.qkv.at(run.offset(i, row, 2) + column);
        sum += value;
        magnitude += std::fabs(value);
      }
      const int count = std::max(num_values, 1);
      // The result is rounded to its type, the sum to float with each term.
      const double bound =
          (2 * unit_roundoff(run.problem.dtype) + count * 0x1p-24) * magnitude / count;
      for (int row = 0; row < length; ++row) {
        const double got = run.out.at(run.out_offset(i, row) + column), want = sum / count;
        if (std::fabs(got - want) <= bound) continue;  // false for NaN
        expect(false, run.problem.label() + ": sequence " + std::to_string(i) + ", row " +
                          std::to_string(row) + " is " + std::to_string(got) + ", not " +
                          std::to_string(want));
      }
    }
  }
}

void test_large_scores() {
  for (const AttentionPath& path : some_of(kAttentionPaths)) {
    for (const auto& lengths : kAttentionBatches) {
      AttentionProblem problem = problem_of(path, lengths);
      problem.deviation = 60.0;  // scores of some 1e4
      AttentionRun(problem).launch_and_check();
    }
  }
}

// The mean of the values.
void test_equal_scores() {
  for (const AttentionPath& path : some_of(kAttentionPaths)) {
    for (const auto& lengths : kAttentionBatches) {
      AttentionRun run(problem_of(path, lengths));
      for (int i = 0; i < 4; ++i) run.fill(i, 0, lengths[i], 0, 0.0);
      run.launch_and_check();
    }
  }
}

// Powers of two whose exponents are beyond 2^31: what is rounded off one of them is more than a
// float can be a power of.
void test_huge_scores() {
  for (const AttentionPath& path : some_of(kAttentionPaths)) {
    for (const auto& lengths : kAttentionBatches) {
      for (const double key : {20000.0, -20000.0}) {
        AttentionRun run(problem_of(path, lengths));
        fill_all(run, 20000.0, key);
        run.launch();
        check_means(run, 0);
      }
    }
  }
}

void test_huge_scale() {
  for (const AttentionPath& path : some_of(kAttentionPaths)) {
    for (const auto& lengths : kAttentionBatches) {
      for (const float scale : {1e20f, std::numeric_limits<float>::max()}) {
        AttentionRun run(problem_of(path, lengths));
        fill_all(run, 1.0, 0.5);
        VarlenAttentionParams params = run.params();
        params.scale = scale;
        run.launch(params);
        check_means(run, 0);
      }
    }
  }
}

// Such keys weigh nothing: neither before the others nor after them, nor alone.
void test_minus_infinity() {
  for (const AttentionPath& path : some_of(kAttentionPaths)) {
    for (const auto& lengths : kAttentionBatches) {
      for (const int first_finite : {1, 70, 1000}) {
        AttentionRun run(problem_of(path, lengths));
        fill_all(run, 1.0, 1.0);
        for (int i = 0; i < 4; ++i)
          run.fill(i, 0, std::min(lengths[i], first_finite), 1, -INFINITY);
        run.launch();
        check_means(run, first_finite);
      }
      AttentionRun run(problem_of(path, lengths));
      fill_all(run, 1.0, -INFINITY);
      for (int i = 0; i < 4; ++i) run.fill(i, 0, std::min(lengths[i], 1), 1, 1.0);
      run.launch();
      check_means(run, 0, 1);
    }
  }
}

void test_infinity_shows() {
  for (const AttentionPath& path : some_of(kAttentionPaths)) {
    for (const auto& lengths : kAttentionBatches) {
      for (const double key : {double{INFINITY}, double{NAN}}) {
        AttentionRun run(problem_of(path, lengths));
        fill_all(run, 1.0, 1.0);
        for (int i = 0; i < 4; ++i) run.fill(i, lengths[i] / 2, lengths[i] / 2 + 1, 1, key);
        run.launch();
        for (int64_t i = 0; i < run.out.size(); ++i) {
          expect(std::isnan(run.out.at(i)), run.problem.label() + ": not NaN");
        }
      }
    }
  }
}

}  // namespace
}  // namespace bertfast::testing

int main() {
  using namespace bertfast::testing;
  return run_tests({
      {"large scores", test_large_scores},
      {"equal scores", test_equal_scores},
      {"huge scores", test_huge_scores},
      {"huge scale", test_huge_scale},
      {"scores of minus infinity", test_minus_infinity},
      {"infinity shows", test_infinity_shows},
  });
}
