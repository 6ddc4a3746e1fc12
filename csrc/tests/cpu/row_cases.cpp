#include <stdexcept>

#include "cpu/bias_gelu.h"
#include "cpu/parallel.h"
#include "cpu/residual_layer_norm.h"
#include "tests/cpu/cases.h"

namespace bertfast::cpu::testing {
namespace {

// Enough for several threads.
constexpr int64_t kRows = 803, kColumns = 83;

Case bias_gelu_case(const char* name, Activation activation) {
  auto x = std::make_shared<Buffer<float>>(randoms<float>(kRows * kColumns, 1));
  auto bias = std::make_shared<Buffer<float>>(randoms<float>(kColumns, 2));
  return {std::string("bias_gelu ") + name, [=] {
            const Buffer<float> out(kRows * kColumns);
            bias_gelu({x->get(), bias->get(), out.get(), kRows, kColumns, activation});
            return out.bytes();
          }};
}

template <typename T>
Case norm_case(const char* name, DType dtype) {
  auto x = std::make_shared<Buffer<T>>(randoms<T>(kRows * kColumns, 1));
  auto residual = std::make_shared<Buffer<float>>(randoms<float>(kRows * kColumns, 2));
  auto weight = std::make_shared<Buffer<float>>(randoms<float>(kColumns, 3));
  auto bias = std::make_shared<Buffer<float>>(randoms<float>(kColumns, 4));
  return {std::string("residual_layer_norm ") + name, [=] {
            const Buffer<float> out(kRows * kColumns);
            residual_layer_norm({x->get(), residual->get(), weight->get(), bias->get(), out.get(),
                                 kRows, kColumns, 1e-5f, dtype});
            return out.bytes();
          }};
}

}  // namespace

std::vector<Case> row_cases() {
  return {bias_gelu_case("erf", Activation::kErf), bias_gelu_case("tanh", Activation::kTanh),
          bias_gelu_case("relu", Activation::kRelu), norm_case<float>("float32", DType::kFloat32),
          norm_case<uint16_t>("bfloat16", DType::kBFloat16)};
}

std::vector<Case> error_cases() {
  const auto fail = [] {
    try {
      parallel_for(0, 8, 1, [](int64_t, int64_t) { throw std::out_of_range("a part"); });
    } catch (const std::out_of_range& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  return {{"parallel_for that fails", fail}};
}

}  // namespace bertfast::cpu::testing
