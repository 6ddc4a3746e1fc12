#include <cstdint>

#include "tests/row_copies_case.h"

namespace bertfast::testing::row_copies {
namespace {

void test_sizes() {
  for_all_sizes([](Run& run) { run.gather_and_check(); });
}

void test_no_row_gives_zeros() {
  for (const int64_t wrong : {int64_t{-1}, int64_t{kTokens}, INT64_MIN, INT64_MAX}) {
    Run run(DType::kFloat32, 9);
    for (int i = 0; i < kPlaces; ++i) run.indices[i] = i % kTokens;
    run.indices[5] = wrong;
    run.launch(run.gather_params());
    for (int i = 0; i < kPlaces; ++i) run.check_row(i, i == 5 ? -1 : i % kTokens);
  }
}

void test_nothing_to_do() {
  Run run(DType::kFloat32, 8);
  GatherFirstParams params = run.gather_params();
  params.batch_size = 0;
  run.launch(params);
  params = run.gather_params();
  params.hidden_size = 0;
  run.launch(params);
}

// As in pad_input_test.
void test_offsets_are_64_bit() {
  constexpr int64_t kRows = 6000000;
  Run run(DType::kFloat16, 768);
  GatherFirstParams params = run.gather_params();
  params.x = run.x.begin_as_end_of(kRows * 768);
  params.out = run.out.begin_as_end_of(kRows * 768);
  params.batch_size = params.num_tokens = kRows;
  params.first_rows = run.indices.data() + kPlaces - kRows;
  for (int i = 0; i < 4; ++i) run.indices[kPlaces - 4 + i] = kRows - 1 - i;
  run.stream.first_block = kRows / 4 - 1;
  run.launch(params);
  for (int i = 0; i < 4; ++i) run.check_row(kPlaces - 4 + i, kTokens - 1 - i);
}

void test_impossible_params() {
  Run run(DType::kFloat32, 8);
  GatherFirstParams params = run.gather_params();
  params.batch_size = int64_t{1} << 34;
  expect(launch_gather_first(params, &run.stream) == cudaErrorInvalidValue, "too many rows");
  params = run.gather_params();
  params.dtype = static_cast<DType>(7);
  expect(launch_gather_first(params, &run.stream) == cudaErrorInvalidValue, "unknown dtype");
}

}  // namespace
}  // namespace bertfast::testing::row_copies

int main() {
  using namespace bertfast::testing::row_copies;
  return bertfast::testing::run_tests({
      {"sizes", test_sizes},
      {"no row", test_no_row_gives_zeros},
      {"nothing to do", test_nothing_to_do},
      {"offsets are 64-bit", test_offsets_are_64_bit},
      {"impossible params", test_impossible_params},
  });
}
