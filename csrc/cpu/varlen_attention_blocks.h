// Attention in blocks of keys and groups of queries: what the kernels share.
//
// An engine E says how its element type is packed into tiles and multiplied. Of each 16 rows of a
// group, queries are [D / row][16 rows][64 bytes], scores [keys / 16][16][16], results [D /
// 16][16][16].
#pragma once

#include "cpu/varlen_attention_product.h"
#include "cpu/varlen_attention_softmax.h"
#include "cpu/varlen_attention_task.h"

namespace bertfast::cpu {
namespace {

// Columns of a head are filled up to a multiple of it with zeros.
constexpr int kColumnStep = 32;

template <typename E>
class BlockedAttention {
 public:
  using Element = typename E::Element;

  static int64_t scratch_bytes(int head_size, int num_queries, int num_keys) {
    return Scratch(nullptr, head_size, num_queries, num_keys).bytes;
  }

  BlockedAttention(const VarlenAttentionParams& params, void* scratch)
      : params_(params),
        base_(static_cast<char*>(scratch)),
        stride_(int64_t{3} * params.num_heads * params.head_size),
        columns_(round_up(params.head_size, kColumnStep)),
        factor_(twice_log2_scale(params.scale)) {}

  void attend(const AttentionTask& task) {
    if (task.num_keys == 0) return store_zeros(task);
    const Scratch at(base_, params_.head_size, task.num_queries, task.num_keys);
    for (int key = 0; key < task.num_keys; key += E::kBlockKeys) {
      const int left = task.num_keys - key;
      const Block block{task, at, key, left < E::kBlockKeys ? left : E::kBlockKeys};
      pack_keys(block);
      attend_block(block);
    }
  }

 private:
  struct Scratch {
    Element *queries, *keys, *values;
    float *scores, *results;
    SoftmaxState* states;
    int64_t bytes = 0;

    Scratch(char* base, int head_size, int num_queries, int num_keys) {
      const int64_t columns = round_up(head_size, kColumnStep);
      const int64_t block =
          round_up(num_keys < E::kBlockKeys ? num_keys : E::kBlockKeys, kStepKeys);
      // The results of earlier blocks of keys are only kept where there are several.
      const int64_t rows =
          num_keys <= E::kBlockKeys ? E::kMaxGroupRows : round_up(num_queries, E::kMaxGroupRows);
      queries = take<Element>(base, E::kMaxGroupRows * columns);
      keys = take<Element>(base, block * columns);
      values = take<Element>(base, block * columns);
      scores = take<float>(base, E::kMaxGroupRows * block);
      results = take<float>(base, rows * columns);
      states = take<SoftmaxState>(base, rows / kTileRows);
    }

    // Everything has a multiple of 64 bytes.
    template <typename T>
    T* take(char* base, int64_t count) {
      char* at = base == nullptr ? nullptr : base + bytes;
      bytes += count * static_cast<int64_t>(sizeof(T));
      return reinterpret_cast<T*>(at);
    }
  };

  struct Block {
    const AttentionTask& task;
    const Scratch& at;
    int first_key, num_keys;

    int steps() const { return (num_keys + kStepKeys - 1) / kStepKeys; }
    bool is_first() const { return first_key == 0; }
    bool is_last() const { return first_key + num_keys == task.num_keys; }
  };

  // Queries of a block's task, and where their scores and results are.
  struct Group {
    int first_query, rows;
    float *scores, *results;
    SoftmaxState* states;
  };

  const Element* rows_of(int64_t row, int part, int head) const {
    return static_cast<const Element*>(params_.qkv) + row * stride_ +
           (int64_t{part} * params_.num_heads + head) * params_.head_size;
  }

  int64_t stride_bytes() const { return stride_ * static_cast<int64_t>(sizeof(Element)); }

  void pack_keys(const Block& block) const {
    const int64_t row = block.task.first_key + block.first_key;
    const int head = block.task.head;
    E::pack_keys(rows_of(row, 1, head), stride_bytes(), block.num_keys, params_.head_size,
                 block.at.keys);
    E::pack_values(rows_of(row, 2, head), stride_bytes(), block.num_keys, params_.head_size,
                   block.at.values);
  }

  void attend_block(const Block& block) const {
    const int num_queries = block.task.num_queries,
              group_rows = E::group_rows(block.num_keys, columns_);
    for (int query = 0; query < num_queries; query += group_rows) {
      const int left = num_queries - query;
      const int place = block.task.num_keys <= E::kBlockKeys ? 0 : query;
      attend_group(block, {query, left < group_rows ? left : group_rows, block.at.scores,
                           block.at.results + int64_t{place} * columns_,
                           block.at.states + place / kTileRows});
    }
  }

  void attend_group(const Block& block, const Group& group) const {
    pack_queries(block, group);
    E::multiply(E::scoring(block.at.queries, block.at.keys, columns_, block.steps(), group.rows,
                           group.scores));
    for (int row = 0; row < group.rows; row += kTileRows) weigh_scores(block, group, row);
    E::multiply(E::weighing(group.scores, block.at.values, columns_, block.num_keys, group.rows,
                            !block.is_first(), group.results));
    if (!block.is_last()) return;
    for (int row = 0; row < group.rows; row += kTileRows) store(block.task, group, row);
  }

  void pack_queries(const Block& block, const Group& group) const {
    constexpr int kRowElements = kTileRowBytes / sizeof(Element);
    Element* packed = block.at.queries;
    for (int row = 0; row < group.rows; row += kTileRows) {
      const Element* src =
          rows_of(block.task.first_query + group.first_query + row, 0, block.task.head);
      for (int column = 0; column < columns_;
           column += kRowElements, packed += kTileRows * kRowElements) {
        const int64_t bytes = (params_.head_size - column) * static_cast<int64_t>(sizeof(Element));
        copy_tile(src + column, stride_bytes(), group.rows - row, bytes, packed);
      }
    }
  }

  // Of 16 rows of a group.
  void weigh_scores(const Block& block, const Group& group, int row) const {
    const int steps = block.steps(), rows = rows_from(group, row);
    SoftmaxState& state = group.states[row / kTileRows];
    float* scores = group.scores + row / kTileRows * steps * kStepFloats;
    if (block.is_first()) reset(state);
    if (block.num_keys < steps * kStepKeys) hide_keys(scores, block.num_keys, steps, rows);
    softmax_tiles<E>(scores, steps, rows, factor_, state);
    if (!block.is_first()) rescale(state, rows, group.results + row * columns_);
  }

  static int rows_from(const Group& group, int row) {
    return group.rows - row < kTileRows ? group.rows - row : kTileRows;
  }

  void rescale(const SoftmaxState& state, int rows, float* results) const {
    for (int r = 0; r < rows; ++r) {
      const __m512 by = _mm512_set1_ps(state.rescale[r]);
      for (int column = 0; column < columns_; column += 16) {
        float* at = results + column * kTileRows + r * 16;
        _mm512_store_ps(at, _mm512_mul_ps(_mm512_load_ps(at), by));
      }
    }
  }

  Element* out_row(const AttentionTask& task, int query) const {
    const int64_t row = (task.first_query + query) * params_.num_heads + task.head;
    return static_cast<Element*>(params_.out) + row * params_.head_size;
  }

  void store(const AttentionTask& task, const Group& group, int row) const {
    const SoftmaxState& state = group.states[row / kTileRows];
    const int size = params_.head_size;
    for (int r = 0; r < rows_from(group, row); ++r) {
      // 0, not NaN, where all scores are -infinity.
      const float sum = state.sum[r];
      const __m512 by = _mm512_set1_ps(sum == 0.0f ? 0.0f : 1.0f / sum);
      const float* from = group.results + row * columns_ + r * 16;
      Element* out = out_row(task, group.first_query + row + r);
      for (int column = 0; column < size; column += 32, from += 512, out += 32) {
        E::store(_mm512_mul_ps(_mm512_load_ps(from), by),
                 _mm512_mul_ps(_mm512_load_ps(from + 256), by), size - column, out);
      }
    }
  }

  void store_zeros(const AttentionTask& task) const {
    for (int query = 0; query < task.num_queries; ++query) {
      Element* out = out_row(task, query);
      for (int column = 0; column < params_.head_size; ++column) out[column] = Element{};
    }
  }

  const VarlenAttentionParams& params_;
  char* base_;
  int64_t stride_;  // elements from row to row of qkv
  int columns_;     // of a head, filled up
  float factor_;
};

}  // namespace
}  // namespace bertfast::cpu
