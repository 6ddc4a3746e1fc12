// A padded batch with a mask of any type, and the packed layout that bertfast/packing.py gives it.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/unpad_input.h"

namespace bertfast::testing {

struct PaddedBatch {
  int batch_size, padded_len;
  std::vector<bool> attended;  // [B * S]
  std::vector<bool> is_pad;    // [B * S], holds the pad token
  bool drops_padding;

  bool is_computed(int64_t place) const {
    return !drops_padding || attended[place] || !is_pad[place] || place % padded_len == 0;
  }
};

struct PackedLayout {
  std::vector<int64_t> indices;
  std::vector<int32_t> cu_seqlens, key_lengths;
  std::vector<int64_t> first_rows;
  PackedCounts counts;

  explicit PackedLayout(const PaddedBatch& batch) : cu_seqlens({0}), counts() {
    for (int b = 0; b < batch.batch_size; ++b) add_sequence(batch, b);
    counts.num_tokens = cu_seqlens.back();
    for (int64_t place = 0; place < int64_t{batch.batch_size} * batch.padded_len; ++place) {
      if (!batch.is_computed(place)) indices.push_back(place);
    }
  }

 private:
  void add_sequence(const PaddedBatch& batch, int b) {
    const int64_t start = int64_t{b} * batch.padded_len, end = start + batch.padded_len;
    const auto size_before = static_cast<int64_t>(indices.size());
    for (int64_t place = start; place < end; ++place) {
      if (batch.attended[place]) indices.push_back(place);
    }
    const auto keys = static_cast<int64_t>(indices.size()) - size_before;
    for (int64_t place = start; place < end; ++place) {
      if (!batch.attended[place] && batch.is_computed(place)) indices.push_back(place);
    }
    const auto length = static_cast<int64_t>(indices.size()) - size_before;
    first_rows.push_back(size_before + (batch.attended[start] ? 0 : keys));
    cu_seqlens.push_back(static_cast<int32_t>(indices.size()));
    key_lengths.push_back(static_cast<int32_t>(keys));
    if (length > counts.max_seqlen) counts.max_seqlen = length;
    if (b == 0 || keys < counts.fewest_keys) counts.fewest_keys = keys;
    counts.num_keys += keys;
  }
};

}  // namespace bertfast::testing
