#include <algorithm>
#include <cstdint>
#include <vector>

#include "tests/row_copies_case.h"

namespace bertfast::testing::row_copies {
namespace {

void test_sizes() {
  for_all_sizes([](Run& run) { run.pad_and_check(); });
}

// Zeros everywhere. There is nothing to read then, and x may be null.
void test_without_tokens() {
  Run run(DType::kFloat16, 72);
  run.num_tokens[0] = 0;
  PadInputParams params = run.pad_params();
  params.x = nullptr;
  run.launch(params);
  for (int i = 0; i < kPlaces; ++i) run.check_row(i, -1);
}

// As many as x has, none less than none, and without a number all of x.
void test_number_of_tokens() {
  for (const int32_t number : {-1, 0, 1, 3, kTokens, kTokens + 1, INT32_MAX, INT32_MIN}) {
    Run run(DType::kFloat16, 72);
    run.num_tokens[0] = number;
    run.launch(run.pad_params());
    run.check_padded(std::clamp(number, 0, kTokens));
  }
  Run run(DType::kFloat16, 72);
  PadInputParams params = run.pad_params();
  params.num_tokens = nullptr;
  run.launch(params);
  run.check_padded(kTokens);
  // More rows than positions.
  params.num_positions = 4;
  for (int i = 0; i < 4; ++i) run.indices[i] = 3 - i;
  run.launch(params);
  for (int i = 0; i < 4; ++i) run.check_row(3 - i, i);
}

// What is no position is passed over, and all else is as it should be.
void test_writes_nothing_outside() {
  for (const int64_t wrong : {int64_t{-1}, int64_t{kPlaces}, INT64_MIN, INT64_MAX}) {
    Run run(DType::kFloat16, 72);
    run.out.fill_normal(2, 5.0, 1.0);
    const std::vector<unsigned char> before = run.out.bytes();
    const int64_t missed = run.indices[2];
    run.indices[2] = wrong;
    run.launch(run.pad_params());
    run.indices[2] = missed;
    const std::vector<unsigned char> after = run.out.bytes();
    const auto begin = static_cast<size_t>(missed) * 72 * 2;
    expect(std::equal(&before[begin], &before[begin] + 72 * 2, &after[begin]), "left as it was");
    for (int i = 0; i < kPlaces; ++i) {
      if (i != 2) run.check_row(run.indices[i], i < kTokens ? i : -1);
    }
  }
}

void test_nothing_to_do() {
  Run run(DType::kFloat32, 8);
  PadInputParams params = run.pad_params();
  params.num_positions = 0;
  run.launch(params);
  params = run.pad_params();
  params.hidden_size = 0;
  run.launch(params);
}

// Beyond 2^32 elements: only the end of the large tensor exists, and only its blocks run.
void test_offsets_are_64_bit() {
  constexpr int64_t kRows = 6000000;
  Run run(DType::kFloat16, 768);
  PadInputParams params = run.pad_params();
  params.num_tokens = nullptr;
  params.num_rows = params.num_positions = kRows;
  params.x = run.x.begin_as_end_of(kRows * 768);
  params.out = run.out.begin_as_end_of(kRows * 768);
  params.indices = run.indices.data() + kPlaces - kRows;
  for (int i = 0; i < 4; ++i) run.indices[kPlaces - 4 + i] = kRows - 1 - 2 * i;
  run.stream.first_block = kRows / 4 - 1;
  run.launch(params);
  for (int i = 0; i < 4; ++i) run.check_row(kPlaces - 1 - 2 * i, kTokens - 4 + i);
}

void test_impossible_params() {
  Run run(DType::kFloat32, 8);
  PadInputParams params = run.pad_params();
  params.num_positions = int64_t{1} << 34;
  expect(launch_pad_input(params, &run.stream) == cudaErrorInvalidValue, "too many rows");
  params = run.pad_params();
  params.dtype = static_cast<DType>(7);
  expect(launch_pad_input(params, &run.stream) == cudaErrorInvalidValue, "unknown dtype");
  params = run.pad_params();
  params.hidden_size = 1 << 30;
  expect(launch_pad_input(params, &run.stream) == cudaErrorInvalidValue, "too wide");
}

}  // namespace
}  // namespace bertfast::testing::row_copies

int main() {
  using namespace bertfast::testing::row_copies;
  return bertfast::testing::run_tests({
      {"sizes", test_sizes},
      {"no tokens", test_without_tokens},
      {"number of tokens", test_number_of_tokens},
      {"nothing outside", test_writes_nothing_outside},
      {"nothing to do", test_nothing_to_do},
      {"offsets are 64-bit", test_offsets_are_64_bit},
      {"impossible params", test_impossible_params},
  });
}
