// Rows for pad_input and gather_first to move as they are, and where each has to arrive.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/gather_first.h"
#include "kernels/pad_input.h"
#include "tests/buffer.h"
#include "tests/tensor.h"
#include "tests/testing.h"

namespace bertfast::testing::row_copies {
using emulation::Stream;

inline constexpr int kPlaces = 12, kTokens = 7;
inline const std::vector<int> kHiddenSizes = {1, 2, 7, 8, 72, 768, 1001, 1024, 2056};

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

}  // namespace bertfast::testing::row_copies
