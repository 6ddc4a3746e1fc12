// A problem for unpad_input with all its buffers, and its solution.
#pragma once

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "emulation/float16.h"
#include "kernels/unpad_input.h"
#include "tests/buffer.h"
#include "tests/ids.h"
#include "tests/padded_batch.h"
#include "tests/testing.h"

namespace bertfast::testing::unpad {
using emulation::Stream;

inline constexpr int kPad = 3;
// More than any id that make_batch gives.
inline constexpr int64_t kWords = int64_t{1} << 33, kTokenTypes = 2, kPositions = 40;

enum class Pattern { kRight, kLeft, kHoles, kFull, kNothing };

struct Problem {
  int batch_size, padded_len;
  Pattern pattern = Pattern::kHoles;
  MaskDType mask_dtype = MaskDType::kInt64;
  MaskReading mask_reading = MaskReading::kNonzero;
  IdDType id_dtype = IdDType::kInt64;
  bool has_ids = true;
  bool has_pad_token = true;
  uint64_t seed = 0;

  std::string label() const {
    return std::to_string(batch_size) + " x " + std::to_string(padded_len) + ", pattern " +
           std::to_string(static_cast<int>(pattern)) + ", mask dtype " +
           std::to_string(static_cast<int>(mask_dtype)) + ", reading " +
           std::to_string(static_cast<int>(mask_reading)) + ", id dtype " +
           std::to_string(static_cast<int>(id_dtype)) + (has_ids ? "" : ", no ids") +
           (has_pad_token ? "" : ", no pad token") + ", seed " + std::to_string(seed);
  }
};

template <typename T>
void write(std::vector<unsigned char>& bytes, int64_t i, T value) {
  std::memcpy(bytes.data() + i * sizeof(T), &value, sizeof(T));
}

inline void write_mask(std::vector<unsigned char>& bytes, int64_t i, MaskDType dtype,
                       double value) {
  const auto number = static_cast<float>(value);
  if (dtype == MaskDType::kBool) write<uint8_t>(bytes, i, value != 0);
  if (dtype == MaskDType::kUInt8) write<uint8_t>(bytes, i, value);
  if (dtype == MaskDType::kInt8) write<int8_t>(bytes, i, value);
  if (dtype == MaskDType::kInt16) write<int16_t>(bytes, i, value);
  if (dtype == MaskDType::kInt32) write<int32_t>(bytes, i, value);
  if (dtype == MaskDType::kInt64) write<int64_t>(bytes, i, value);
  if (dtype == MaskDType::kFloat64) write(bytes, i, value);
  if (dtype == MaskDType::kFloat32) write(bytes, i, number);
  if (dtype == MaskDType::kFloat16) write(bytes, i, emulation::Float16(number));
  if (dtype == MaskDType::kBFloat16) write(bytes, i, emulation::BFloat16(number));
}

// What is random here is the same for every type of mask and ids.
inline PaddedBatch make_batch(const Problem& problem) {
  PaddedBatch batch = {
      problem.batch_size, problem.padded_len, {}, {}, problem.has_ids && problem.has_pad_token};
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
  Ids words, token_types, positions;
  Buffer<int64_t> indices;
  Buffer<int32_t> cu_seqlens, key_lengths;
  Buffer<int64_t> first_rows;
  Buffer<PackedCounts> counts;

  explicit Run(const Problem& p)
      : problem(p),
        batch(make_batch(p)),
        num_places(int64_t{p.batch_size} * p.padded_len),
        mask_bytes(num_places * bertfast::mask_bytes(p.mask_dtype)),
        words(stream, "input_ids", num_places),
        token_types(stream, "token_type_ids", num_places),
        positions(stream, "position_ids", num_places),
        indices(stream, "indices", num_places, -1),
        cu_seqlens(stream, "cu_seqlens", p.batch_size + 1, -1),
        key_lengths(stream, "key_lengths", p.batch_size, -1),
        first_rows(stream, "first_rows", p.batch_size, -1),
        counts(stream, "counts", 1, {-1, -1, -1, -1, -1}) {
    stream.schedule_seed = p.seed;
    stream.memory.add(mask_bytes.data(), mask_bytes.size(), "attention_mask");
    for (int64_t i = 0; i < num_places; ++i) {
      write_mask(mask_bytes, i, p.mask_dtype, batch.attended[i] ? key_value(i) : hidden_value(i));
      // An id whose lower half is the pad token is none.
      words.set(i, batch.is_pad[i] ? kPad : (int64_t{1} << 32) + kPad);
      words.narrow[i] = batch.is_pad[i] ? kPad : 10;
      token_types.set(i, i % kTokenTypes);
      positions.set(i, i % kPositions);
    }
  }

  // Where 1 attends, so does what float16 rounds to it: a double by way of float.
  double key_value(int64_t i) const {
    const bool is_one = problem.mask_reading == MaskReading::kOne;
    const bool is_double = problem.mask_dtype == MaskDType::kFloat64;
    if (is_one && is_double && i % 5 == 1) return 1 + 0x1p-11 + 0x1p-26;
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
    if (problem.has_ids) params.input_ids = words.data(problem.id_dtype);
    params.token_type_ids = token_types.data(problem.id_dtype);
    params.position_ids = positions.data(problem.id_dtype);
    params.indices = indices.data();
    params.cu_seqlens = cu_seqlens.data();
    params.key_lengths = key_lengths.data();
    params.first_rows = first_rows.data();
    params.counts = counts.data();
    params.num_words = kWords;
    params.num_token_types = kTokenTypes;
    params.num_positions = kPositions;
    params.pad_token_id = kPad;
    params.has_pad_token = problem.has_pad_token;
    params.batch_size = problem.batch_size;
    params.padded_len = problem.padded_len;
    params.mask_dtype = problem.mask_dtype;
    params.mask_reading = problem.mask_reading;
    params.model_dtype = DType::kFloat16;
    params.id_dtype = problem.id_dtype;
    return params;
  }

  void launch(const UnpadInputParams& params) {
    const cudaError_t status = launch_unpad_input(params, &stream);
    expect(status == cudaSuccess, problem.label() + ": " + stream.error);
  }

  void launch_and_check(uint32_t bits = 0) {
    launch(params());
    const PackedLayout want(batch);
    expect(cu_seqlens.values() == want.cu_seqlens, problem.label() + ": cu_seqlens");
    expect(key_lengths.values() == want.key_lengths, problem.label() + ": key_lengths");
    expect(indices.values() == want.indices, problem.label() + ": indices");
    expect(first_rows.values() == want.first_rows, problem.label() + ": first_rows");
    expect(counts[0].num_tokens == want.counts.num_tokens, problem.label() + ": num_tokens");
    expect(counts[0].max_seqlen == want.counts.max_seqlen, problem.label() + ": max_seqlen");
    expect(counts[0].num_keys == want.counts.num_keys, problem.label() + ": num_keys");
    expect(counts[0].fewest_keys == want.counts.fewest_keys, problem.label() + ": fewest_keys");
    expect(counts[0].out_of_range == bits, problem.label() + ": out_of_range");
  }
};

}  // namespace bertfast::testing::unpad
