#include "cpu/dense.h"
#include "cpu/features.h"
#include "tests/cpu/cases.h"

namespace bertfast::cpu::testing {
namespace {

// A dense layer with all that it reads.
struct Layer {
  Buffer<float> weight, bias, scales, sums;
  Buffer<uint8_t> panels;
  DenseWeight dense;

  Layer(Operand operand, int64_t columns, int64_t k)
      : weight(randoms<float>(columns * k, 5)),
        bias(randoms<float>(columns, 6)),
        scales(columns),
        sums(columns),
        panels(packed_weight_bytes(operand, columns, k)),
        dense{operand, panels.get(), bias.get(), scales.get(), sums.get(), columns, k} {
    pack();
  }

  void pack() {
    if (dense.operand == Operand::kBFloat16) {
      return pack_weight_bfloat16({weight.get(), panels.get(), dense.columns, dense.k});
    }
    pack_weight_int8(
        {weight.get(), panels.get(), scales.get(), sums.get(), dense.columns, dense.k});
  }
};

// H and I, no multiples of tiles or panels; the product of I takes more than one part of a panel.
constexpr int64_t kHidden = 70, kInner = 300;

Case pack_case(Operand operand) {
  return {"pack_weight", [=] {
            const Layer layer(operand, kInner, kHidden);
            return layer.panels.bytes() + layer.scales.bytes() + layer.sums.bytes();
          }};
}

template <typename T, typename Out>
Case dense_case(Operand operand, int64_t rows, DType x_dtype, DType out_dtype) {
  auto layer = std::make_shared<Layer>(operand, kHidden, kInner);
  auto x = std::make_shared<Buffer<T>>(randoms<T>(rows * kInner, 7));
  return {"dense of " + std::to_string(rows), [=] {
            const Buffer<Out> out(rows * kHidden);
            dense({&layer->dense, x->get(), out.get(), rows, x_dtype, out_dtype});
            return out.bytes();
          }};
}

Case tail_case(Operand operand, int64_t rows, Activation activation) {
  auto attention = std::make_shared<Layer>(operand, kHidden, kHidden);
  auto intermediate = std::make_shared<Layer>(operand, kInner, kHidden);
  auto output = std::make_shared<Layer>(operand, kHidden, kInner);
  auto context = std::make_shared<Buffer<uint16_t>>(randoms<uint16_t>(rows * kHidden, 8));
  auto x = std::make_shared<Buffer<float>>(randoms<float>(rows * kHidden, 9));
  auto norm = std::make_shared<Buffer<float>>(randoms<float>(kHidden, 10));
  return {"layer_tail of " + std::to_string(rows), [=] {
            const Buffer<float> out(rows * kHidden);
            const NormWeight both = {norm->get(), norm->get(), 1e-5f};
            layer_tail({&attention->dense, both, &intermediate->dense, activation, &output->dense,
                        both, context->get(), x->get(), out.get(), rows, DType::kBFloat16});
            return out.bytes();
          }};
}

void add_cases(Operand operand, std::vector<Case>& cases) {
  // Few rows: threads share each product. Many: each thread has blocks of its own.
  cases.push_back(pack_case(operand));
  cases.push_back(dense_case<float, float>(operand, 21, DType::kFloat32, DType::kFloat32));
  cases.push_back(dense_case<uint16_t, uint16_t>(operand, 290, DType::kBFloat16, DType::kBFloat16));
  cases.push_back(tail_case(operand, 37, Activation::kErf));
  cases.push_back(tail_case(operand, 401, Activation::kTanh));
}

}  // namespace

std::vector<Case> dense_cases() {
  std::vector<Case> cases;
  if (has_bf16()) add_cases(Operand::kBFloat16, cases);
  if (has_vnni()) add_cases(Operand::kInt8, cases);
  return cases;
}

}  // namespace bertfast::cpu::testing
