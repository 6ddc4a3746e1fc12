// pad_input and gather_first: both move rows as they are.
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/gather_first.h"
#include "kernels/pad_input.h"
#include "tests/buffer.h"
#include "tests/tensor.h"
#include "tests/testing.h"

namespace bertfast::testing {
namespace {

using emulation::Stream;

constexpr int kPlaces = 12, kTokens = 7;
const std::vector<int> kHiddenSizes = {1, 2, 7, 8, 72, 768, 1001, 1024, 2056};

struct Run {
  DType dtype;
  int hidden_size;
  Stream stream;
  Tensor x, out;
  Buffer<int64_t> indices;
  Buffer<int32_t> num_tokens;

  Run(DType dtype, int hidden_size, const std::string& misaligned = "", uint64_t seed = 0)
      : dtype(dtype),
        hidden_size(hidden_size),
        x(stream, "x", dtype, kTokens * hidden_size, misaligned == "x"),
        out(stream, "out", dtype, kPlaces * hidden_size, misaligned == "out"),
        indices(stream, "indices", kPlaces, 0),
        num_tokens(stream, "num_tokens", 1, kTokens) {
    stream.schedule_seed = seed;
    x.fill_normal(1, 0.0, 1.0);
    for (int i = 0; i < kPlaces; ++i) indices[i] = (5 * i + 4) % kPlaces;
  }

  std::string label() const { return to_string(dtype) + ", H " + std::to_string(hidden_size); }

  PadInputParams pad_params() {
    return {x.data(), indices.data(), num_tokens.data(), out.data(),
            kTokens,  kPlaces,        hidden_size,       dtype};
  }

  GatherFirstParams gather_params() {
    return {x.data(), indices.data(), out.data(), kTokens, kPlaces, hidden_size, dtype};
  }

  void launch(const PadInputParams& params) {
    const cudaError_t status = launch_pad_input(params, &stream);
    expect(status == cudaSuccess, label() + ": " + stream.error);
  }

  void launch(const GatherFirstParams& params) {
    const cudaError_t status = launch_gather_first(params, &stream);
    expect(status == cudaSuccess, label() + ": " + stream.error);
  }

  // Row `out_row` of out is row `x_row` of x; zeros if that is negative.
  void check_row(int64_t out_row, int64_t x_row) const {
    for (int i = 0; i < hidden_size; ++i) {
      const double want = x_row < 0 ? 0.0 : x.at(x_row * hidden_size + i);
      expect(out.at(out_row * hidden_size + i) == want,
             label() + ": row " + std::to_string(out_row) + ", column " + std::to_string(i));
    }
  }

  void pad_and_check() {
    launch(pad_params());
    check_padded(num_tokens[0]);
  }

  void check_padded(int num_rows) const {
    for (int i = 0; i < kPlaces; ++i) check_row(indices[i], i < num_rows ? i : -1);
  }

  void gather_and_check() {
    for (int i = 0; i < kPlaces; ++i) indices[i] = (3 * i + 2) % kTokens;
    launch(gather_params());
    for (int i = 0; i < kPlaces; ++i) check_row(i, indices[i]);
  }
};

template <typename Check>
void for_all_sizes(const Check& check) {
  for (const DType dtype : kDTypes) {
    for (const int hidden_size : some_of(kHiddenSizes)) {
      for (const char* misaligned : {"", "x", "out"}) {
        for (const uint64_t seed : {0, 1, 2}) {
          Run run(dtype, hidden_size, misaligned, seed);
          check(run);
        }
      }
    }
  }
}

void test_pad_sizes() {
  for_all_sizes([](Run& run) { run.pad_and_check(); });
}

void test_gather_sizes() {
  for_all_sizes([](Run& run) { run.gather_and_check(); });
}

// Zeros everywhere. There is nothing to read then, and x may be null.
void test_pad_without_tokens() {
  Run run(DType::kFloat16, 72);
  run.num_tokens[0] = 0;
  PadInputParams params = run.pad_params();
  params.x = nullptr;
  run.launch(params);
  for (int i = 0; i < kPlaces; ++i) run.check_row(i, -1);
}

// As many as x has, none less than none, and without a number all of x.
void test_pad_number_of_tokens() {
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
void test_pad_writes_nothing_outside() {
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

void test_gather_of_no_row_gives_zeros() {
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
  PadInputParams pad = run.pad_params();
  pad.num_positions = 0;
  run.launch(pad);
  pad = run.pad_params();
  pad.hidden_size = 0;
  run.launch(pad);
  GatherFirstParams gather = run.gather_params();
  gather.batch_size = 0;
  run.launch(gather);
  gather = run.gather_params();
  gather.hidden_size = 0;
  run.launch(gather);
}

// Beyond 2^32 elements: only the end of the large tensor exists, and only its blocks run.
void test_pad_offsets_are_64_bit() {
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

void test_gather_offsets_are_64_bit() {
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
  PadInputParams pad = run.pad_params();
  pad.num_positions = int64_t{1} << 34;
  expect(launch_pad_input(pad, &run.stream) == cudaErrorInvalidValue, "too many rows");
  pad = run.pad_params();
  pad.dtype = static_cast<DType>(7);
  expect(launch_pad_input(pad, &run.stream) == cudaErrorInvalidValue, "unknown dtype");
  pad = run.pad_params();
  pad.hidden_size = 1 << 30;
  expect(launch_pad_input(pad, &run.stream) == cudaErrorInvalidValue, "too wide");
  GatherFirstParams gather = run.gather_params();
  gather.batch_size = int64_t{1} << 34;
  expect(launch_gather_first(gather, &run.stream) == cudaErrorInvalidValue, "too many rows");
  gather = run.gather_params();
  gather.dtype = static_cast<DType>(7);
  expect(launch_gather_first(gather, &run.stream) == cudaErrorInvalidValue, "unknown dtype");
}

}  // namespace
}  // namespace bertfast::testing

int main() {
  using namespace bertfast::testing;
  return run_tests({
      {"pad: sizes", test_pad_sizes},
      {"pad: no tokens", test_pad_without_tokens},
      {"pad: number of tokens", test_pad_number_of_tokens},
      {"pad: nothing outside", test_pad_writes_nothing_outside},
      {"pad: offsets are 64-bit", test_pad_offsets_are_64_bit},
      {"gather: sizes", test_gather_sizes},
      {"gather: no row", test_gather_of_no_row_gives_zeros},
      {"gather: offsets are 64-bit", test_gather_offsets_are_64_bit},
      {"nothing to do", test_nothing_to_do},
      {"impossible params", test_impossible_params},
  });
}
