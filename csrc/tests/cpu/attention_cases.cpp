#include "cpu/features.h"
#include "cpu/varlen_attention.h"
#include "tests/cpu/cases.h"

namespace bertfast::cpu::testing {
namespace {

constexpr int kHeads = 2;
constexpr int64_t kSpareRows = 3;
// More than a block of keys of either kernel, none, one, and no multiple of anything.
const std::vector<int32_t> kLengths = {530, 0, 1, 70, 33};

// hidden: of each sequence so many rows are no keys, where there are as many.
template <typename T>
Case attention_case(const char* name, DType dtype, int head_size, int hidden) {
  auto offsets = std::make_shared<Buffer<int32_t>>(kLengths.size() + 1);
  auto keys = std::make_shared<Buffer<int32_t>>(kLengths.size());
  for (size_t b = 0; b < kLengths.size(); ++b) {
    offsets->get()[b + 1] = offsets->get()[b] + kLengths[b];
    keys->get()[b] = kLengths[b] < hidden ? kLengths[b] : kLengths[b] - hidden;
  }
  const int64_t rows = offsets->get()[kLengths.size()] + kSpareRows;
  auto qkv = std::make_shared<Buffer<T>>(randoms<T>(rows * 3 * kHeads * head_size, 1));
  return {std::string("varlen_attention ") + name + " D " + std::to_string(head_size), [=] {
            const Buffer<T> out(rows * kHeads * head_size);
            varlen_attention({qkv->get(), offsets->get(), hidden == 0 ? nullptr : keys->get(),
                              out.get(), rows, static_cast<int64_t>(kLengths.size()), kHeads,
                              head_size, 0.125f, dtype});
            return out.bytes();
          }};
}

}  // namespace

std::vector<Case> attention_cases() {
  std::vector<Case> cases = {attention_case<float>("float32", DType::kFloat32, 64, 0),
                             attention_case<float>("float32", DType::kFloat32, 20, 5)};
  if (has_amx_bf16()) {
    cases.push_back(attention_case<uint16_t>("bfloat16", DType::kBFloat16, 64, 0));
    cases.push_back(attention_case<uint16_t>("bfloat16", DType::kBFloat16, 20, 5));
  }
  return cases;
}

}  // namespace bertfast::cpu::testing
