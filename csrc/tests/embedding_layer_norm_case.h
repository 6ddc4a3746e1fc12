// A problem for embedding_layer_norm with all its buffers, and its solution.
#pragma once

#include <random>
#include <string>
#include <vector>

#include "kernels/embedding_layer_norm.h"
#include "tests/buffer.h"
#include "tests/ids.h"
#include "tests/layer_norm_reference.h"
#include "tests/tensor.h"
#include "tests/testing.h"

namespace bertfast::testing::embedding {
using emulation::Stream;

inline constexpr float kEps = 1e-12f;
inline constexpr double kFloatError = 2e-6;  // of the float arithmetic, for values of a few units
inline constexpr int kWords = 50, kTokenTypes = 2, kPositions = 40;
inline constexpr int kBatchSize = 3, kPaddedLen = 7, kPlaces = kBatchSize * kPaddedLen;

struct Problem {
  DType dtype;
  int hidden_size;
  IdDType id_dtype = IdDType::kInt64;
  bool has_indices = true;
  bool has_word_ids = true;
  bool has_token_type_ids = true;
  bool has_position_ids = true;
  uint64_t seed = 0;
  std::string misaligned = {};  // the tensor that starts one element off
  int num_tokens = 11;

  std::string label() const {
    return to_string(dtype) + ", H " + std::to_string(hidden_size) +
           (id_dtype == IdDType::kInt32 ? ", int32" : ", int64") +
           (has_indices ? "" : ", no indices") + (has_word_ids ? "" : ", no word ids") +
           (has_token_type_ids ? "" : ", no token types") +
           (has_position_ids ? "" : ", no positions") + ", seed " + std::to_string(seed) +
           (misaligned.empty() ? "" : ", misaligned " + misaligned);
  }
};

struct Run {
  Problem problem;
  Stream stream;
  Buffer<int64_t> indices;
  Ids words, token_types, positions;
  Tensor word_table, token_type_table, position_table, weight, bias, out;
  Buffer<uint32_t> out_of_range;

  explicit Run(const Problem& p)
      : problem(p),
        indices(stream, "indices", p.num_tokens, 0),
        words(stream, "word_ids", kPlaces),
        token_types(stream, "token_type_ids", kPlaces),
        positions(stream, "position_ids", kPlaces),
        word_table(tensor("word_embeddings", kWords)),
        token_type_table(tensor("token_type_embeddings", kTokenTypes)),
        position_table(tensor("position_embeddings", kPositions)),
        weight(tensor("weight", 1)),
        bias(tensor("bias", 1)),
        out(tensor("out", p.num_tokens)),
        out_of_range(stream, "out_of_range", 1, 0) {
    stream.schedule_seed = p.seed;
    for (int t = 0; t < p.num_tokens; ++t) indices[t] = (5 * t + 3) % kPlaces;
    fill(words, kWords, 1);
    fill(token_types, kTokenTypes, 2);
    fill(positions, kPositions, 3);
    word_table.fill_normal(4, 0.1, 1.0);
    token_type_table.fill_normal(5, 0.0, 0.5);
    position_table.fill_normal(6, 0.2, 0.7);
    weight.fill_normal(7, 1.0, 0.2);
    bias.fill_normal(8, 0.0, 0.3);
  }

  static void fill(Ids& ids, int num_rows, int seed) {
    std::mt19937_64 random(seed);
    for (int i = 0; i < kPlaces; ++i) ids.set(i, random() % num_rows);
  }

  Tensor tensor(const std::string& name, int64_t num_rows) {
    return Tensor(stream, name, problem.dtype, num_rows * problem.hidden_size,
                  problem.misaligned == name);
  }

  EmbeddingLayerNormParams params() {
    EmbeddingLayerNormParams params = {};
    if (problem.has_indices) params.indices = indices.data();
    if (problem.has_word_ids) params.word_ids = words.data(problem.id_dtype);
    if (problem.has_token_type_ids) params.token_type_ids = token_types.data(problem.id_dtype);
    if (problem.has_position_ids) params.position_ids = positions.data(problem.id_dtype);
    params.word_embeddings = word_table.data();
    params.token_type_embeddings = token_type_table.data();
    params.position_embeddings = position_table.data();
    params.weight = weight.data();
    params.bias = bias.data();
    params.out = out.data();
    params.num_tokens = problem.num_tokens;
    params.num_words = kWords;
    params.num_token_types = kTokenTypes;
    params.num_positions = kPositions;
    params.padded_len = kPaddedLen;
    params.hidden_size = problem.hidden_size;
    params.eps = kEps;
    params.dtype = problem.dtype;
    params.id_dtype = problem.id_dtype;
    return params;
  }

  void launch(const EmbeddingLayerNormParams& params) {
    const cudaError_t status = launch_embedding_layer_norm(params, &stream);
    expect(status == cudaSuccess, problem.label() + ": " + stream.error);
  }

  std::vector<double> reference() const {
    std::vector<double> sums;
    for (int token = 0; token < problem.num_tokens; ++token) {
      const int64_t place = problem.has_indices ? indices[token] : token;
      const int64_t word = problem.has_word_ids ? words.wide[place] : place;
      const int64_t type = problem.has_token_type_ids ? token_types.wide[place] : 0;
      const int64_t position =
          problem.has_position_ids ? positions.wide[place] : place % kPaddedLen;
      for (int i = 0; i < problem.hidden_size; ++i) {
        sums.push_back(word_table.at(word * problem.hidden_size + i) +
                       token_type_table.at(type * problem.hidden_size + i) +
                       position_table.at(position * problem.hidden_size + i));
      }
    }
    return layer_norm_reference(sums, weight, bias, kEps);
  }

  void check(const std::string& label) const {
    expect_close(out, reference(), problem.dtype, kFloatError, label);
  }

  void launch_and_check() {
    launch(params());
    check(problem.label());
  }
};

}  // namespace bertfast::testing::embedding
