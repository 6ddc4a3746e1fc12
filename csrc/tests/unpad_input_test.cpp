#include <cstdint>

#include "tests/testing.h"
#include "tests/unpad_input_case.h"

namespace bertfast::testing::unpad {
namespace {

void test_sizes() {
  for (const int padded_len :
       some_of<int>({1, 2, 31, 32, 33, 127, 128, 129, 512, 1023, 1024, 1025, 8192})) {
    for (const int batch_size : {1, 5}) {
      for (const Pattern pattern :
           {Pattern::kRight, Pattern::kLeft, Pattern::kHoles, Pattern::kFull, Pattern::kNothing}) {
        Run({batch_size, padded_len, pattern}).launch_and_check();
      }
      Problem problem = {batch_size, padded_len};
      problem.has_ids = false;
      Run(problem).launch_and_check();
      problem.has_ids = true;
      problem.has_pad_token = false;
      Run(problem).launch_and_check();
    }
  }
}

// More sequences than threads that scan their lengths.
void test_many_sequences() {
  for (const int batch_size : some_of<int>({511, 512, 513, 5000}))
    Run({batch_size, 3}).launch_and_check();
}

void test_masks_and_ids_of_every_type() {
  for (int number = 0; number <= static_cast<int>(MaskDType::kFloat64); ++number) {
    const auto mask_dtype = static_cast<MaskDType>(number);
    for (const MaskReading reading : {MaskReading::kNonzero, MaskReading::kOne}) {
      for (const IdDType id_dtype : {IdDType::kInt32, IdDType::kInt64}) {
        Run({3, 150, Pattern::kHoles, mask_dtype, reading, id_dtype}).launch_and_check();
      }
    }
  }
}

void test_empty_batch() { Run({0, 7}).launch_and_check(); }

struct Table {
  Ids Run::* ids;
  int64_t num_rows;
  uint32_t bit;
};
const Table kTables[] = {{&Run::words, kWords, kWordIdOutOfRange},
                         {&Run::token_types, kTokenTypes, kTokenTypeIdOutOfRange},
                         {&Run::positions, kPositions, kPositionIdOutOfRange}};

// Wherever in the batch it stands, in a key, a query or what is dropped; the layout stays the same.
void test_ids_out_of_range_are_told() {
  constexpr int64_t kSmallest = int64_t{1} << 63;
  for (const auto& [ids, num_rows, bit] : kTables) {
    for (const int64_t place : some_of<int64_t>({0, 1, 149, 150, 333, 449})) {
      for (const int64_t id : {int64_t{-1}, num_rows, kSmallest, ~kSmallest}) {
        Run run({3, 150});
        if (bit == kWordIdOutOfRange && run.batch.is_pad[place]) continue;  // it would be computed
        (run.*ids).set(place, id);
        run.launch_and_check(bit);
        (run.*ids).set(place, id < 0 ? 0 : num_rows - 1);
        if (bit != kWordIdOutOfRange) run.launch_and_check(0);
      }
      Run narrow(
          {3, 150, Pattern::kFull, MaskDType::kInt64, MaskReading::kNonzero, IdDType::kInt32});
      (narrow.*ids).narrow[place] = -(int64_t{1} << 31);
      narrow.launch_and_check(bit);
    }
  }
}

// Also of padding that is dropped, and of sequences that different warps and threads scan.
void test_bits_of_all_rows_gather() {
  constexpr int kRows = 1024;  // all warps scan some, each thread two
  Run run({kRows, 3, Pattern::kNothing});
  UnpadInputParams params = run.params();
  params.num_words = kPad;  // the pad token itself is outside
  run.launch(params);
  expect(run.counts[0].out_of_range == kWordIdOutOfRange, "the id of padding");
  for (const int64_t row : some_of<int64_t>({0, 95, kRows - 1})) {
    run.token_types.set(3 * row + 2, -1);
    run.positions.set(3 * (kRows - 1 - row), kPositions);
    run.launch_and_check(kTokenTypeIdOutOfRange | kPositionIdOutOfRange);
    run.token_types.set(3 * row + 2, 0);
    run.positions.set(3 * (kRows - 1 - row), 0);
  }
  run.launch_and_check(0);
}

void test_only_some_ids() {
  for (int given = 0; given < 8; ++given) {
    Run run({2, 40});
    for (const Table& table : kTables) (run.*(table.ids)).set(45, -1);
    UnpadInputParams params = run.params();
    if ((given & 1) == 0) params.input_ids = nullptr;
    if ((given & 2) == 0) params.token_type_ids = nullptr;
    if ((given & 4) == 0) params.position_ids = nullptr;
    run.launch(params);
    expect(run.counts[0].out_of_range == given, "of those that are given");
  }
}

// Every schedule has to give the same.
void test_schedules() {
  for (uint64_t seed = 1; seed < 8; ++seed) {
    Problem problem = {3, 5000};
    problem.seed = seed;
    Run(problem).launch_and_check();
  }
}

void test_impossible_params() {
  Run run({2, 8});
  const auto is_refused = [&](auto change) {
    UnpadInputParams params = run.params();
    change(params);
    return launch_unpad_input(params, &run.stream) == cudaErrorInvalidValue;
  };
  expect(is_refused([](auto& p) { p.padded_len = 0; }), "no column 0");
  expect(is_refused([](auto& p) { p.padded_len = -1; }), "negative length");
  expect(is_refused([](auto& p) { p.batch_size = -1; }), "negative batch");
  expect(is_refused([](auto& p) { p.batch_size = p.padded_len = 1 << 16; }), "2^32 positions");
  expect(is_refused([](auto& p) { p.mask_dtype = static_cast<MaskDType>(10); }), "mask dtype");
  expect(is_refused([](auto& p) { p.mask_reading = static_cast<MaskReading>(9); }), "reading");
  expect(is_refused([](auto& p) { p.model_dtype = static_cast<DType>(9); }), "model dtype");
  expect(is_refused([](auto& p) { p.id_dtype = static_cast<IdDType>(9); }), "id dtype");
}

}  // namespace
}  // namespace bertfast::testing::unpad

int main() {
  using namespace bertfast::testing::unpad;
  return bertfast::testing::run_tests({
      {"sizes", test_sizes},
      {"many sequences", test_many_sequences},
      {"masks and ids of every type", test_masks_and_ids_of_every_type},
      {"empty batch", test_empty_batch},
      {"ids out of range are told", test_ids_out_of_range_are_told},
      {"bits of all rows gather", test_bits_of_all_rows_gather},
      {"only some ids", test_only_some_ids},
      {"schedules", test_schedules},
      {"impossible params", test_impossible_params},
  });
}
