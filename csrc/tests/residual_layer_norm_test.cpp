#include "kernels/residual_layer_norm.h"

#include <string>
#include <vector>

#include "tests/layer_norm_reference.h"
#include "tests/tensor.h"
#include "tests/testing.h"

namespace bertfast::testing {
namespace {

using emulation::Stream;

constexpr float kEps = 1e-12f;  // BERT's

// Of the float arithmetic, for values of a few units.
constexpr double kFloatError = 2e-6;

struct Problem {
  DType dtype;
  int64_t num_tokens;
  int hidden_size;
  bool has_residual = true;
  bool has_x_bias = true;
  uint64_t seed = 0;
  double mean = 0.3;
  std::string misaligned = {};  // the tensor that starts one element off

  std::string label() const {
    return to_string(dtype) + ", " + std::to_string(num_tokens) + " x " +
           std::to_string(hidden_size) + (has_residual ? "" : ", no residual") +
           (has_x_bias ? "" : ", no bias of x") + ", mean " + std::to_string(mean) + ", seed " +
           std::to_string(seed);
  }
};

struct Run {
  Problem problem;
  Stream stream;
  Tensor x, x_bias, residual, weight, bias, out;

  explicit Run(const Problem& p)
      : problem(p),
        x(tensor("x", p.num_tokens)),
        x_bias(tensor("x_bias", 1)),
        residual(tensor("residual", p.num_tokens)),
        weight(tensor("weight", 1)),
        bias(tensor("bias", 1)),
        out(tensor("out", p.num_tokens)) {
    stream.schedule_seed = p.seed;
    x.fill_normal(1, p.mean, 1.0);
    residual.fill_normal(2, 0.0, 0.7);
    weight.fill_normal(3, 1.0, 0.2);
    bias.fill_normal(4, 0.0, 0.3);
    x_bias.fill_normal(5, -0.2, 0.5);
  }

  Tensor tensor(const std::string& name, int64_t num_rows) {
    return Tensor(stream, name, problem.dtype, num_rows * problem.hidden_size,
                  problem.misaligned == name);
  }

  ResidualLayerNormParams params() {
    return {x.data(),
            problem.has_x_bias ? x_bias.data() : nullptr,
            problem.has_residual ? residual.data() : nullptr,
            weight.data(),
            bias.data(),
            out.data(),
            problem.num_tokens,
            problem.hidden_size,
            kEps,
            problem.dtype};
  }

  void launch(const ResidualLayerNormParams& params) {
    const cudaError_t status = launch_residual_layer_norm(params, &stream);
    expect(status == cudaSuccess, problem.label() + ": " + stream.error);
  }

  std::vector<double> reference() const {
    std::vector<double> sums(x.size());
    for (int64_t i = 0; i < x.size(); ++i) {
      sums[i] = x.at(i) + (problem.has_residual ? residual.at(i) : 0) +
                (problem.has_x_bias ? x_bias.at(i % problem.hidden_size) : 0);
    }
    return layer_norm_reference(sums, weight, bias, kEps);
  }

  void launch_and_check(double float_error = kFloatError) {
    launch(params());
    expect_close(out, reference(), problem.dtype, float_error, problem.label());
  }
};

void test_sizes() {
  for (const DType dtype : kDTypes) {
    for (const int hidden_size :
         some_of<int>({7, 8, 384, 768, 1000, 1021, 1024, 1025, 1032, 2056, 3072, 4104})) {
      for (const int num_tokens : {1, 2, 5}) {
        Run({dtype, num_tokens, hidden_size}).launch_and_check();
      }
    }
    // With another addend, the rounding of the sum would be all that is left of a single element.
    Run({dtype, 3, 1, false, false}).launch_and_check();
    Run({dtype, 67, 64}).launch_and_check();
    Run({dtype, 1, kMaxHiddenSize - 1}).launch_and_check();
    Run({dtype, 1, kMaxHiddenSize}).launch_and_check();
  }
}

void test_optional_addends() {
  for (const DType dtype : kDTypes) {
    for (const int hidden_size : {768, 1021, 3072}) {
      for (const bool has_residual : {true, false}) {
        for (const bool has_x_bias : {true, false}) {
          Run({dtype, 3, hidden_size, has_residual, has_x_bias}).launch_and_check();
        }
      }
    }
  }
}

void test_misaligned_tensors() {
  for (const DType dtype : kDTypes) {
    for (const char* name : {"x", "x_bias", "residual", "weight", "bias", "out"}) {
      Run({dtype, 3, 768, true, true, 0, 0.3, name}).launch_and_check();
      Run({dtype, 3, 2048, true, true, 0, 0.3, name}).launch_and_check();
    }
  }
}

void test_empty() {
  Run({DType::kFloat32, 0, 768}).launch_and_check();
  Run({DType::kFloat32, 3, 0}).launch_and_check();
}

// With a deviation of 1 around 10,000, E[x^2] - mean^2 in float is noise. Two passes keep what
// float has: the mean itself is known to 5e-4.
void test_large_mean() {
  for (const int hidden_size : {384, 768, 1000, 3072}) {
    for (const bool has_residual : {true, false}) {
      Run({DType::kFloat32, 3, hidden_size, has_residual, true, 0, 1e4}).launch_and_check(5e-3);
      Run({DType::kFloat16, 3, hidden_size, has_residual, true, 0, 1e3}).launch_and_check(5e-3);
    }
  }
}

// Every schedule has to give the same bits.
void test_schedules() {
  for (const DType dtype : kDTypes) {
    for (const int hidden_size : {768, 1001, 2048}) {
      Run first({dtype, 3, hidden_size});
      first.launch_and_check();
      for (uint64_t seed = 1; seed < 6; ++seed) {
        Run other({dtype, 3, hidden_size, true, true, seed});
        other.launch_and_check();
        expect(other.out.bytes() == first.out.bytes(), other.problem.label() + ": other bits");
      }
    }
  }
}

// A row's result must not depend on the batch around it.
void test_rows_are_independent() {
  for (const int hidden_size : {768, 2048}) {
    Run batch({DType::kFloat16, 4, hidden_size}), alone({DType::kFloat16, 1, hidden_size});
    const int64_t last_row = 3 * hidden_size;
    for (int i = 0; i < hidden_size; ++i) {
      alone.x.set(i, batch.x.at(last_row + i));
      alone.residual.set(i, batch.residual.at(last_row + i));
    }
    batch.launch(batch.params());
    alone.launch(alone.params());
    for (int i = 0; i < hidden_size; ++i) {
      expect(alone.out.at(i) == batch.out.at(last_row + i), alone.problem.label());
    }
  }
}

void test_in_place() {
  for (const DType dtype : kDTypes) {
    for (const int hidden_size : {768, 2048}) {
      Run apart({dtype, 5, hidden_size});
      apart.launch(apart.params());
      for (Tensor Run::* target : {&Run::x, &Run::residual}) {
        Run in_place({dtype, 5, hidden_size, true, true, 3});
        ResidualLayerNormParams params = in_place.params();
        params.out = (in_place.*target).data();
        in_place.launch(params);
        expect((in_place.*target).bytes() == apart.out.bytes(), apart.problem.label());
      }
    }
  }
}

// Beyond 2^32 elements: only the end of the tensors exists, and only its blocks run.
void test_offsets_are_64_bit() {
  constexpr int64_t kTokens = 6000000;
  for (const int hidden_size : {768, 2048}) {
    Run run({DType::kFloat16, 2, hidden_size});
    ResidualLayerNormParams params = run.params();
    params.x = run.x.begin_as_end_of(kTokens * hidden_size);
    params.residual = run.residual.begin_as_end_of(kTokens * hidden_size);
    params.out = run.out.begin_as_end_of(kTokens * hidden_size);
    params.num_tokens = kTokens;
    run.stream.first_block = hidden_size == 768 ? kTokens / 2 - 1 : kTokens - 2;
    run.launch(params);
    expect_close(run.out, run.reference(), DType::kFloat16, kFloatError, run.problem.label());
  }
}

void test_impossible_params() {
  Run run({DType::kFloat32, 1, 8});
  const auto status = [&](auto change) {
    ResidualLayerNormParams params = run.params();
    change(params);
    return launch_residual_layer_norm(params, &run.stream);
  };
  const auto too_wide = status([](auto& params) { params.hidden_size = kMaxHiddenSize + 1; });
  expect(too_wide == cudaErrorInvalidValue, "too wide");
  const auto too_long = status([](auto& params) { params.num_tokens = int64_t{1} << 33; });
  expect(too_long == cudaErrorInvalidValue, "too long");
  const auto unknown = status([](auto& params) { params.dtype = static_cast<DType>(7); });
  expect(unknown == cudaErrorInvalidValue, "unknown dtype");
}

}  // namespace
}  // namespace bertfast::testing

int main() {
  using namespace bertfast::testing;
  return run_tests({
      {"sizes", test_sizes},
      {"optional addends", test_optional_addends},
      {"misaligned tensors", test_misaligned_tensors},
      {"empty", test_empty},
      {"large mean", test_large_mean},
      {"schedules", test_schedules},
      {"rows are independent", test_rows_are_independent},
      {"in place", test_in_place},
      {"offsets are 64-bit", test_offsets_are_64_bit},
      {"impossible params", test_impossible_params},
  });
}
