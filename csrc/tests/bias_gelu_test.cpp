#include "kernels/bias_gelu.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "tests/tensor.h"
#include "tests/testing.h"

namespace bertfast::testing {
namespace {

using emulation::Stream;

constexpr Activation kActivations[] = {Activation::kErf, Activation::kTanh, Activation::kRelu};

double activate(double x, Activation activation) {
  if (activation == Activation::kRelu) return x < 0 ? 0 : x;
  if (activation == Activation::kErf) return 0.5 * x * std::erfc(-x * std::sqrt(0.5));
  const double u = std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x);
  return 0.5 * x * (1 + std::tanh(u));
}

// Of the float arithmetic: three roundings of values that stay below 8.
constexpr double kFloatError = 3 * 0x1p-22;

struct Problem {
  DType dtype;
  Activation activation;
  int64_t num_tokens;
  int inner_size;
  uint64_t seed = 0;
  std::string misaligned = {};  // the tensor that starts one element off

  std::string label() const {
    return to_string(dtype) + ", activation " + std::to_string(static_cast<int>(activation)) +
           ", " + std::to_string(num_tokens) + " x " + std::to_string(inner_size) + ", seed " +
           std::to_string(seed);
  }
};

struct Run {
  Problem problem;
  Stream stream;
  Tensor x, bias, out;

  explicit Run(const Problem& p)
      : problem(p),
        x(stream, "x", p.dtype, p.num_tokens * p.inner_size, p.misaligned == "x"),
        bias(stream, "bias", p.dtype, p.inner_size, p.misaligned == "bias"),
        out(stream, "out", p.dtype, p.num_tokens * p.inner_size, p.misaligned == "out") {
    stream.schedule_seed = p.seed;
    x.fill_normal(1, 0.0, 2.0);
    bias.fill_normal(2, 0.5, 1.0);
  }

  BiasGeluParams params() {
    return {x.data(),           bias.data(),   out.data(),        problem.num_tokens,
            problem.inner_size, problem.dtype, problem.activation};
  }

  void launch(const BiasGeluParams& params) {
    const cudaError_t status = launch_bias_gelu(params, &stream);
    expect(status == cudaSuccess, problem.label() + ": " + stream.error);
  }

  std::vector<double> reference() const {
    std::vector<double> want(x.size());
    for (int64_t i = 0; i < x.size(); ++i) {
      want[i] = activate(x.at(i) + bias.at(i % problem.inner_size), problem.activation);
    }
    return want;
  }

  void launch_and_check() {
    launch(params());
    expect_close(out, reference(), problem.dtype, kFloatError, problem.label());
  }
};

void test_sizes() {
  for (const DType dtype : kDTypes) {
    for (const Activation activation : kActivations) {
      for (const int inner_size : {1, 7, 8, 384, 768, 1000, 1024, 1029, 3072}) {
        for (const int num_tokens : {1, 2, 5}) {
          Run({dtype, activation, num_tokens, inner_size}).launch_and_check();
        }
      }
      Run({dtype, activation, 67, 128}).launch_and_check();
    }
  }
}

void test_misaligned_tensors() {
  for (const DType dtype : kDTypes) {
    for (const char* name : {"x", "bias", "out"}) {
      Run({dtype, Activation::kErf, 3, 768, 0, name}).launch_and_check();
    }
  }
}

void test_empty() {
  Run({DType::kFloat32, Activation::kErf, 0, 768}).launch_and_check();
  Run({DType::kFloat32, Activation::kErf, 3, 0}).launch_and_check();
}

// Every schedule has to give the same bits.
void test_schedules() {
  for (const DType dtype : kDTypes) {
    Run first({dtype, Activation::kErf, 5, 1000});
    first.launch_and_check();
    for (uint64_t seed = 1; seed < 6; ++seed) {
      Run other({dtype, Activation::kErf, 5, 1000, seed});
      other.launch_and_check();
      expect(other.out.bytes() == first.out.bytes(), other.problem.label() + ": other bits");
    }
  }
}

void test_in_place() {
  for (const DType dtype : kDTypes) {
    Run apart({dtype, Activation::kErf, 5, 768});
    apart.launch(apart.params());
    Run in_place({dtype, Activation::kErf, 5, 768, 3});
    BiasGeluParams params = in_place.params();
    params.out = in_place.x.data();
    in_place.launch(params);
    expect(in_place.x.bytes() == apart.out.bytes(), apart.problem.label() + ": other bits");
  }
}

// The polynomial inside, from end to end. 0.5 x (1 + erf(x / sqrt(2))) in float is off by 4.5e-7
// around 5, and has no digit right at -5.
void test_erf_is_exact() {
  constexpr int kPoints = 1 << 16;
  Run run({DType::kFloat32, Activation::kErf, 1, kPoints});
  for (int i = 0; i < kPoints; ++i) {
    run.x.set(i, -18.0 + 36.0 * i / kPoints);
    run.bias.set(i, 0.0);
  }
  run.launch(run.params());
  for (int i = 0; i < kPoints; ++i) {
    const double x = run.x.at(i), want = activate(x, Activation::kErf);
    const double error = std::fabs(run.out.at(i) - want);
    const double bound = 2e-7 * std::min(1.0, std::fabs(x)) + 0x1p-24 * std::fabs(want);
    expect(error <= bound,
           "at " + std::to_string(x) + ": off by 1e-7 * " + std::to_string(error * 1e7));
    expect(x < -6.0 || error <= 4e-6 * std::fabs(want), "no digits at " + std::to_string(x));
  }
}

void test_not_finite() {
  for (const DType dtype : kDTypes) {
    for (const Activation activation : kActivations) {
      for (const int inner_size : {8, 5}) {
        Run run({dtype, activation, 1, inner_size});
        for (int i = 0; i < 4; ++i) run.bias.set(i, 0.0);
        run.x.set(0, NAN);
        run.x.set(1, INFINITY);
        run.x.set(3, -INFINITY);
        run.launch(run.params());
        expect(std::isnan(run.out.at(0)), run.problem.label() + ": NaN stays NaN");
        expect(run.out.at(1) == INFINITY, run.problem.label() + ": infinity stays infinite");
        expect(std::isfinite(run.out.at(2)), run.problem.label() + ": neighbours are not touched");
        const bool is_relu = activation == Activation::kRelu;
        expect(is_relu ? run.out.at(3) == 0.0 : std::isnan(run.out.at(3)),
               run.problem.label() + ": -infinity times 0 is NaN");
      }
    }
  }
}

// Beyond 2^32 elements: only the end of x and out exists, and only the last block runs.
void test_offsets_are_64_bit() {
  constexpr int64_t kTokens = 6000000;
  constexpr int kInner = 1024, kRows = 2;  // one block is all columns of two rows
  Run run({DType::kFloat16, Activation::kErf, kRows, kInner});
  BiasGeluParams params = run.params();
  params.x = run.x.begin_as_end_of(kTokens * kInner);
  params.out = run.out.begin_as_end_of(kTokens * kInner);
  params.num_tokens = kTokens;
  run.stream.first_block = kTokens / 2 - 1;
  run.launch(params);
  expect_close(run.out, run.reference(), DType::kFloat16, kFloatError, run.problem.label());
}

void test_impossible_params() {
  Run run({DType::kFloat32, Activation::kErf, 1, 8});
  BiasGeluParams params = run.params();
  params.num_tokens = int64_t{1} << 33;
  expect(launch_bias_gelu(params, &run.stream) == cudaErrorInvalidValue, "too many tokens");
  params = run.params();
  params.dtype = static_cast<DType>(7);
  expect(launch_bias_gelu(params, &run.stream) == cudaErrorInvalidValue, "unknown dtype");
  params = run.params();
  params.activation = static_cast<Activation>(7);
  expect(launch_bias_gelu(params, &run.stream) == cudaErrorInvalidValue, "unknown activation");
}

}  // namespace
}  // namespace bertfast::testing

int main() {
  using namespace bertfast::testing;
  return run_tests({
      {"sizes", test_sizes},
      {"misaligned tensors", test_misaligned_tensors},
      {"empty", test_empty},
      {"schedules", test_schedules},
      {"in place", test_in_place},
      {"erf is exact", test_erf_is_exact},
      {"not finite", test_not_finite},
      {"offsets are 64-bit", test_offsets_are_64_bit},
      {"impossible params", test_impossible_params},
  });
}
