#include "kernels/unpad_input.h"

#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "emulation/float16.h"
#include "tests/buffer.h"
#include "tests/padded_batch.h"
#include "tests/testing.h"

namespace bertfast::testing {
namespace {

using emulation::Stream;

constexpr MaskDType kMaskDTypes[] = {MaskDType::kBool,    MaskDType::kUInt8,   MaskDType::kInt8,
                                     MaskDType::kInt32,   MaskDType::kInt64,   MaskDType::kFloat32,
                                     MaskDType::kFloat16, MaskDType::kBFloat16};
constexpr int kPad = 3;

enum class Pattern { kRight, kLeft, kHoles, kFull, kNothing };

struct Problem {
  int batch_size, padded_len;
  Pattern pattern = Pattern::kHoles;
  MaskDType mask_dtype = MaskDType::kInt64;
  MaskReading mask_reading = MaskReading::kNonzero;
  IdDType id_dtype = IdDType::kInt64;
  bool has_ids = true;
  uint64_t seed = 0;

  std::string label() const {
    return std::to_string(batch_size) + " x " + std::to_string(padded_len) + ", pattern " +
           std::to_string(static_cast<int>(pattern)) + ", mask dtype " +
           std::to_string(static_cast<int>(mask_dtype)) + ", reading " +
           std::to_string(static_cast<int>(mask_reading)) + ", id dtype " +
           std::to_string(static_cast<int>(id_dtype)) + (has_ids ? "" : ", no ids") + ", seed " +
           std::to_string(seed);
  }
};

template <typename T>
void write(std::vector<unsigned char>& bytes, int64_t i, T value) {
  std::memcpy(bytes.data() + i * sizeof(T), &value, sizeof(T));
}

void write_mask(std::vector<unsigned char>& bytes, int64_t i, MaskDType dtype, double value) {
  const auto number = static_cast<float>(value);
  if (dtype == MaskDType::kBool) write<uint8_t>(bytes, i, value != 0);
  if (dtype == MaskDType::kUInt8) write<uint8_t>(bytes, i, value);
  if (dtype == MaskDType::kInt8) write<int8_t>(bytes, i, value);
  if (dtype == MaskDType::kInt32) write<int32_t>(bytes, i, value);
  if (dtype == MaskDType::kInt64) write<int64_t>(bytes, i, value);
  if (dtype == MaskDType::kFloat32) write(bytes, i, number);
  if (dtype == MaskDType::kFloat16) write(bytes, i, emulation::Float16(number));
  if (dtype == MaskDType::kBFloat16) write(bytes, i, emulation::BFloat16(number));
}

// What is random here is the same for every type of mask and ids.
PaddedBatch make_batch(const Problem& problem) {
  PaddedBatch batch = {problem.batch_size, problem.padded_len, {}, {}, problem.has_ids};
  std::mt19937_64 random(7);
  for (int b = 0; b < problem.batch_size; ++b) {
    const int length = static_cast<int>(random() % (problem.padded_len + 1));
    for (int column = 0; column < problem.padded_len; ++column) {
      const bool is_in_length[] = {column < length, column >= problem.padded_len - length,
                                   random() % 3 != 0, true, false};
      batch.attended.push_back(is_in_length[static_cast<int>(problem.pattern)]);
      // Now and then the pad token is attended to, or another one is not.
      batch.is_pad.push_back(batch.attended.back() ? random() % 8 == 0 : random() % 8 != 0);
    }
  }
  return batch;
}

struct Run {
  Problem problem;
  PaddedBatch batch;
  int64_t num_places;
  Stream stream;
  std::vector<unsigned char> mask_bytes;
  Buffer<int32_t> narrow_ids;
  Buffer<int64_t> wide_ids, indices;
  Buffer<int32_t> cu_seqlens, key_lengths;
  Buffer<int64_t> first_rows;
  Buffer<PackedCounts> counts;

  explicit Run(const Problem& p)
      : problem(p),
        batch(make_batch(p)),
        num_places(int64_t{p.batch_size} * p.padded_len),
        mask_bytes(num_places * bertfast::mask_bytes(p.mask_dtype)),
        narrow_ids(stream, "input_ids", num_places, 0),
        wide_ids(stream, "input_ids", num_places, 0),
        indices(stream, "indices", num_places, -1),
        cu_seqlens(stream, "cu_seqlens", p.batch_size + 1, -1),
        key_lengths(stream, "key_lengths", p.batch_size, -1),
        first_rows(stream, "first_rows", p.batch_size, -1),
        counts(stream, "counts", 1, {-1, -1, -1, -1}) {
    stream.schedule_seed = p.seed;
    stream.memory.add(mask_bytes.data(), mask_bytes.size(), "attention_mask");
    for (int64_t i = 0; i < num_places; ++i) {
      write_mask(mask_bytes, i, p.mask_dtype, batch.attended[i] ? key_value(i) : hidden_value(i));
      narrow_ids[i] = batch.is_pad[i] ? kPad : 10;
      // An id whose lower half is the pad token is none.
      wide_ids[i] = batch.is_pad[i] ? kPad : (int64_t{1} << 32) + kPad;
    }
  }

  // Where 1 attends, so does what float16 rounds to it.
  double key_value(int64_t i) const {
    const bool is_one = problem.mask_reading == MaskReading::kOne;
    return is_one && i % 5 == 0 ? 1 + 0x1p-12 : 1;
  }

  // Where only 1 attends, 2 does not. Where all but 0 attends, -0.0 does not.
  double hidden_value(int64_t i) const {
    if (i % 3 != 0 || problem.mask_dtype == MaskDType::kBool) return 0;
    return problem.mask_reading == MaskReading::kOne ? 2 : -0.0;
  }

  UnpadInputParams params() {
    UnpadInputParams params = {};
    params.attention_mask = mask_bytes.data();
    const bool is_narrow = problem.id_dtype == IdDType::kInt32;
    if (problem.has_ids) {
      params.input_ids = is_narrow ? static_cast<void*>(narrow_ids.data()) : wide_ids.data();
    }
    params.indices = indices.data();
    params.cu_seqlens = cu_seqlens.data();
    params.key_lengths = key_lengths.data();
    params.first_rows = first_rows.data();
    params.counts = counts.data();
    params.pad_token_id = kPad;
    params.batch_size = problem.batch_size;
    params.padded_len = problem.padded_len;
    params.mask_dtype = problem.mask_dtype;
    params.mask_reading = problem.mask_reading;
    params.model_dtype = DType::kFloat16;
    params.id_dtype = problem.id_dtype;
    return params;
  }

  void launch_and_check() {
    const cudaError_t status = launch_unpad_input(params(), &stream);
    expect(status == cudaSuccess, problem.label() + ": " + stream.error);
    const PackedLayout want(batch);
    expect(cu_seqlens.values() == want.cu_seqlens, problem.label() + ": cu_seqlens");
    expect(key_lengths.values() == want.key_lengths, problem.label() + ": key_lengths");
    expect(indices.values() == want.indices, problem.label() + ": indices");
    expect(first_rows.values() == want.first_rows, problem.label() + ": first_rows");
    expect(counts[0].num_tokens == want.counts.num_tokens, problem.label() + ": num_tokens");
    expect(counts[0].max_seqlen == want.counts.max_seqlen, problem.label() + ": max_seqlen");
    expect(counts[0].num_keys == want.counts.num_keys, problem.label() + ": num_keys");
    expect(counts[0].fewest_keys == want.counts.fewest_keys, problem.label() + ": fewest_keys");
  }
};

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
    }
  }
}

// More sequences than threads that scan their lengths.
void test_many_sequences() {
  for (const int batch_size : some_of<int>({511, 512, 513, 5000}))
    Run({batch_size, 3}).launch_and_check();
}

void test_masks_and_ids_of_every_type() {
  for (const MaskDType mask_dtype : kMaskDTypes) {
    for (const MaskReading reading : {MaskReading::kNonzero, MaskReading::kOne}) {
      for (const IdDType id_dtype : {IdDType::kInt32, IdDType::kInt64}) {
        Run({3, 150, Pattern::kHoles, mask_dtype, reading, id_dtype}).launch_and_check();
      }
    }
  }
}

void test_empty_batch() { Run({0, 7}).launch_and_check(); }

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
  expect(is_refused([](auto& p) { p.mask_dtype = static_cast<MaskDType>(9); }), "mask dtype");
  expect(is_refused([](auto& p) { p.mask_reading = static_cast<MaskReading>(9); }), "reading");
  expect(is_refused([](auto& p) { p.model_dtype = static_cast<DType>(9); }), "model dtype");
  expect(is_refused([](auto& p) { p.id_dtype = static_cast<IdDType>(9); }), "id dtype");
}

}  // namespace
}  // namespace bertfast::testing

int main() {
  using namespace bertfast::testing;
  return run_tests({
      {"sizes", test_sizes},
      {"many sequences", test_many_sequences},
      {"masks and ids of every type", test_masks_and_ids_of_every_type},
      {"empty batch", test_empty_batch},
      {"schedules", test_schedules},
      {"impossible params", test_impossible_params},
  });
}
