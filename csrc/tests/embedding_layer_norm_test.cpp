#include <cmath>

#include "tests/embedding_layer_norm_case.h"
#include "tests/testing.h"

namespace bertfast::testing::embedding {
namespace {

void test_sizes() {
  for (const DType dtype : kDTypes) {
    for (const int hidden_size :
         some_of<int>({7, 8, 384, 768, 1000, 1021, 1024, 1032, 2056, 4104, 8191, 8192})) {
      Run({dtype, hidden_size}).launch_and_check();
    }
  }
}

void test_ids_of_every_kind() {
  for (const DType dtype : kDTypes) {
    for (const IdDType id_dtype : {IdDType::kInt32, IdDType::kInt64}) {
      for (int absent = 0; absent < 16; ++absent) {
        Run({dtype, 72, id_dtype, (absent & 1) == 0, (absent & 2) == 0, (absent & 4) == 0,
             (absent & 8) == 0})
            .launch_and_check();
      }
    }
  }
}

void test_misaligned_tensors() {
  const char* names[] = {
      "word_embeddings", "token_type_embeddings", "position_embeddings", "weight", "bias", "out"};
  for (const DType dtype : kDTypes) {
    for (const char* name : names) {
      Problem problem = {dtype, 384};
      problem.misaligned = name;
      Run(problem).launch_and_check();
    }
  }
}

void test_empty() {
  Problem no_tokens = {DType::kFloat32, 768};
  no_tokens.num_tokens = 0;
  Run(no_tokens).launch_and_check();
  Run no_columns({DType::kFloat32, 0});
  no_columns.launch(no_columns.params());
}

void test_ids_out_of_range_are_clamped_and_told() {
  struct Case {
    Ids Run::* ids;
    int64_t num_rows;
    uint32_t bit;
  };
  const Case cases[] = {{&Run::words, kWords, kWordIdOutOfRange},
                        {&Run::token_types, kTokenTypes, kTokenTypeIdOutOfRange},
                        {&Run::positions, kPositions, kPositionIdOutOfRange}};
  for (const IdDType id_dtype : {IdDType::kInt32, IdDType::kInt64}) {
    for (const auto& [ids, num_rows, bit] : cases) {
      for (const int64_t id : {int64_t{-1}, num_rows, -(int64_t{1} << 31), (int64_t{1} << 31) - 1,
                               INT64_MIN, INT64_MAX}) {
        if (id_dtype == IdDType::kInt32 && id != static_cast<int32_t>(id)) continue;
        Run run({DType::kFloat16, 72, id_dtype});
        (run.*ids).set(run.indices[4], id);
        EmbeddingLayerNormParams params = run.params();
        params.out_of_range = run.out_of_range.data();
        run.launch(params);
        expect(run.out_of_range[0] == bit, "the bit of this table, for " + std::to_string(id));
        (run.*ids).set(run.indices[4], id < 0 ? 0 : num_rows - 1);
        run.check(run.problem.label() + ", id " + std::to_string(id));
      }
    }
  }
}

void test_bits_of_all_tables_gather() {
  Run run({DType::kFloat32, 72});
  EmbeddingLayerNormParams params = run.params();
  params.out_of_range = run.out_of_range.data();
  run.launch(params);
  expect(run.out_of_range[0] == 0, "all ids are in range");
  run.out_of_range[0] = 16;  // whoever owns the other bits finds them as they were
  run.words.set(run.indices[0], kWords);
  run.token_types.set(run.indices[1], kTokenTypes);
  run.positions.set(run.indices[2], kPositions);
  run.launch(params);
  expect(run.out_of_range[0] == 16 + 7, "the bits of all three tables");
}

// Every schedule has to give the same bits.
void test_schedules() {
  for (const int hidden_size : {768, 1001, 2048}) {
    Problem problem = {DType::kFloat16, hidden_size};
    Run first(problem);
    first.launch_and_check();
    for (problem.seed = 1; problem.seed < 6; ++problem.seed) {
      Run other(problem);
      other.launch_and_check();
      expect(other.out.bytes() == first.out.bytes(), other.problem.label() + ": other bits");
    }
  }
}

void test_not_finite() {
  Run run({DType::kFloat32, 8});
  run.words.set(run.indices[2], 9);
  for (int place = 0; place < kPlaces; ++place) {
    if (place != run.indices[2]) run.words.set(place, 3);
  }
  run.word_table.set(9 * 8 + 1, NAN);
  run.launch(run.params());
  for (int64_t i = 0; i < run.out.size(); ++i) {
    expect(std::isnan(run.out.at(i)) == (i / 8 == 2), "NaN in its own row, and nowhere else");
  }
}

// Beyond 2^32 elements: only the end of out and of the table exists, and only its last block runs.
void test_offsets_are_64_bit() {
  constexpr int64_t kTokens = 6000000;
  constexpr int kHidden = 768;
  Run run({DType::kFloat16, kHidden});
  run.problem.num_tokens = 2;
  for (int token = 0; token < 2; ++token) run.words.set(run.indices[token], kTokens - 1 - token);
  Tensor out(run.stream, "out", DType::kFloat16, 2 * kHidden);
  EmbeddingLayerNormParams params = run.params();
  params.word_embeddings = run.word_table.begin_as_end_of(kTokens * kHidden);
  params.indices = run.indices.data() - (kTokens - 2);
  params.out = out.begin_as_end_of(kTokens * kHidden);
  params.num_tokens = params.num_words = kTokens;
  run.stream.first_block = kTokens / 2 - 1;
  run.launch(params);
  for (int token = 0; token < 2; ++token) run.words.set(run.indices[token], kWords - 1 - token);
  expect_close(out, run.reference(), DType::kFloat16, kFloatError, run.problem.label());
}

void test_impossible_params() {
  Run run({DType::kFloat32, 8});
  const auto is_refused = [&](auto change) {
    EmbeddingLayerNormParams params = run.params();
    change(params);
    return launch_embedding_layer_norm(params, &run.stream) == cudaErrorInvalidValue;
  };
  expect(is_refused([](auto& p) { p.hidden_size = kMaxHiddenSize + 1; }), "too wide");
  expect(is_refused([](auto& p) { p.num_tokens = int64_t{1} << 33; }), "too long");
  expect(is_refused([](auto& p) { p.dtype = static_cast<DType>(7); }), "unknown dtype");
  expect(is_refused([](auto& p) { p.id_dtype = static_cast<IdDType>(7); }), "unknown id dtype");
  expect(is_refused([](auto& p) { p.num_words = 0; }), "no words");
  expect(is_refused([](auto& p) { p.num_token_types = 0; }), "no token types");
  expect(is_refused([](auto& p) { p.num_positions = 0; }), "no positions");
  expect(is_refused([](auto& p) {
           p.position_ids = nullptr;
           p.padded_len = 0;
         }),
         "neither positions nor columns");
}

}  // namespace
}  // namespace bertfast::testing::embedding

int main() {
  using namespace bertfast::testing::embedding;
  return bertfast::testing::run_tests({
      {"sizes", test_sizes},
      {"ids of every kind", test_ids_of_every_kind},
      {"misaligned tensors", test_misaligned_tensors},
      {"empty", test_empty},
      {"ids out of range are clamped and told", test_ids_out_of_range_are_clamped_and_told},
      {"bits of all tables gather", test_bits_of_all_tables_gather},
      {"schedules", test_schedules},
      {"not finite", test_not_finite},
      {"offsets are 64-bit", test_offsets_are_64_bit},
      {"impossible params", test_impossible_params},
  });
}
