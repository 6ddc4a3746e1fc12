// The emulated ldmatrix and mma.sync against the fragment layouts of the PTX ISA.
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kernels/intrinsics_launch.cuh"
#include "tests/tensor_core_probes.cuh"
#include "tests/testing.h"

namespace bertfast::testing {
namespace {

using Matrix = std::vector<std::vector<double>>;

Matrix random_integers(int rows, int columns, uint64_t seed) {
  std::mt19937_64 random(seed);
  Matrix matrix(rows, std::vector<double>(columns));
  for (auto& row : matrix) {
    for (double& value : row) value = static_cast<int>(random() % 33) - 16;
  }
  return matrix;
}

template <typename T>
uint32_t pair_of(double first, double second) {
  const T elements[] = {T(static_cast<float>(first)), T(static_cast<float>(second))};
  uint32_t bits;
  std::memcpy(&bits, elements, sizeof(bits));
  return bits;
}

// "Matrix Fragments for mma.m16n8k8" and "... for mma.m16n8k16 with floating point type":
// groupID = lane / 4 and threadID_in_group = lane % 4.
template <typename T, int kDepth>
struct Fragments {
  std::vector<uint32_t> a, b;
  std::vector<float> sums;

  Fragments(const Matrix& left, const Matrix& right, const Matrix& start) {
    for (int lane = 0; lane < kWarpSize; ++lane) {
      const int group = lane / 4, column = lane % 4 * 2;
      for (int i = 0; i < kDepth / 2; i += 2) {  // elements a_i and a_(i + 1)
        const int row = i % 4 < 2 ? group : group + 8;
        const int depth = i < 4 ? column : column + 8;
        a.push_back(pair_of<T>(left[row][depth], left[row][depth + 1]));
      }
      for (int i = 0; i < kDepth / 4; i += 2) {
        const int depth = i < 2 ? column : column + 8;
        b.push_back(pair_of<T>(right[depth][group], right[depth + 1][group]));
      }
      for (int i = 0; i < 4; ++i) {
        sums.push_back(static_cast<float>(start[i < 2 ? group : group + 8][column + (i & 1)]));
      }
    }
  }
};

template <typename T, int kDepth>
void test_products_of_integers() {
  for (uint64_t seed = 0; seed < 6; ++seed) {
    const Matrix left = random_integers(16, kDepth, seed), right = random_integers(kDepth, 8, 7);
    Matrix sums = random_integers(16, 8, 8);
    Fragments<T, kDepth> got(left, right, sums);
    for (int row = 0; row < 16; ++row) {
      for (int i = 0; i < kDepth * 8; ++i)
        sums[row][i % 8] += left[row][i / 8] * right[i / 8][i % 8];
    }
    const Fragments<T, kDepth> want(left, right, sums);

    emulation::Stream stream;
    stream.schedule_seed = seed;
    const MultiplyProbe probe = {got.a.data(), got.b.data(), got.sums.data()};
    launch_kernel(multiply_probe_kernel<T, kDepth>, {dim3(1), kWarpSize}, probe, &stream);
    expect(stream.error.empty(), stream.error);
    expect(got.sums == want.sums, "the product, seed " + std::to_string(seed));
  }
}

void test_products_that_are_not_finite() {
  Matrix left(16, std::vector<double>(16, 1.0)), right(16, std::vector<double>(8, 1.0));
  left[3][5] = NAN;
  right[9][2] = INFINITY;
  Fragments<bfloat16, 16> fragments(left, right, Matrix(16, std::vector<double>(8, 0.0)));
  const MultiplyProbe probe = {fragments.a.data(), fragments.b.data(), fragments.sums.data()};
  launch_kernel(multiply_probe_kernel<bfloat16, 16>, {dim3(1), kWarpSize}, probe, nullptr);
  for (int i = 0; i < kWarpSize * 4; ++i) {
    const int row = i / 16 + i % 4 / 2 * 8, column = i / 4 % 4 * 2 + i % 2;
    const float got = fragments.sums[i];
    const bool is_right = row == 3 ? std::isnan(got) : got == (column == 2 ? INFINITY : 16.0f);
    expect(is_right, "row " + std::to_string(row) + ", column " + std::to_string(column));
  }
}

struct LoadRun {
  emulation::Stream stream;
  std::vector<uint32_t> fragments;
  std::vector<uint16_t> rows;  // element (i, j) of matrix m holds the bits 64 * m + 8 * i + j

  template <bool kTransposed, int kMatrices>
  void launch(int row_stride) {
    std::vector<int> offsets;
    rows.resize(kMatrices * 64);
    fragments.resize(kWarpSize * kMatrices);
    for (int i = 0; i < kMatrices * 64; ++i) rows[i] = static_cast<uint16_t>(i);
    for (int i = 0; i < kMatrices * 8; ++i) offsets.push_back(i * row_stride);
    const LoadProbe probe = {reinterpret_cast<const float16*>(rows.data()), offsets.data(),
                             fragments.data()};
    const size_t smem_bytes = kMatrices * 8 * row_stride * sizeof(float16);
    launch_kernel(load_probe_kernel<kTransposed, kMatrices>, {dim3(1), kWarpSize, smem_bytes},
                  probe, &stream);
  }
};

template <bool kTransposed, int kMatrices>
void test_loads() {
  for (uint64_t seed = 0; seed < 6; ++seed) {
    LoadRun run;
    run.stream.schedule_seed = seed;
    run.launch<kTransposed, kMatrices>(8);
    expect(run.stream.error.empty(), run.stream.error);
    for (int lane = 0; lane < kWarpSize; ++lane) {
      for (int matrix = 0; matrix < kMatrices; ++matrix) {
        const int i = lane / 4, j = lane % 4 * 2;
        const int first = kTransposed ? 8 * j + i : 8 * i + j;
        const int second = kTransposed ? first + 8 : first + 1;
        const uint32_t want = 64 * matrix + first + ((64 * matrix + second) << 16);
        expect(run.fragments[lane * kMatrices + matrix] == want,
               "lane " + std::to_string(lane) + ", matrix " + std::to_string(matrix));
      }
    }
  }
}

void test_bank_conflicts_are_counted() {
  LoadRun packed, spread;
  packed.launch<false, 4>(8);
  expect(packed.stream.num_bank_conflicts == 0, "eight rows side by side use every bank once");
  spread.launch<false, 4>(64);
  expect(spread.stream.num_bank_conflicts == 4 * 7, "rows 128 bytes apart use the same banks");
}

}  // namespace
}  // namespace bertfast::testing

int main() {
  using namespace bertfast;
  using namespace bertfast::testing;
  return run_tests({
      {"float16, 16 x 8 x 16", test_products_of_integers<float16, 16>},
      {"bfloat16, 16 x 8 x 16", test_products_of_integers<bfloat16, 16>},
      {"float16, 16 x 8 x 8", test_products_of_integers<float16, 8>},
      {"not finite", test_products_that_are_not_finite},
      {"4 matrices", test_loads<false, 4>},
      {"4 matrices, transposed", test_loads<true, 4>},
      {"2 matrices", test_loads<false, 2>},
      {"2 matrices, transposed", test_loads<true, 2>},
      {"bank conflicts are counted", test_bank_conflicts_are_counted},
  });
}
