#include "bindings/packed_layout.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

namespace bertfast::bindings {
namespace {

using Numbers = std::vector<int64_t>;

std::string listed(Numbers::const_iterator begin, Numbers::const_iterator end) {
  std::string text;
  for (; begin != end; ++begin) text += (text.empty() ? "" : ", ") + std::to_string(*begin);
  return "[" + text + "]";
}

std::string shortened(const Numbers& numbers) {
  if (numbers.size() <= 8) return listed(numbers.begin(), numbers.end());
  return listed(numbers.begin(), numbers.begin() + 4) + " ... " +
         listed(numbers.end() - 3, numbers.end());
}

}  // namespace

void check_varlen(int64_t num_tokens, const Tensor& cu_seqlens,
                  const std::optional<Tensor>& key_lengths) {
  check_shape("cu_seqlens", cu_seqlens, {"B + 1"});
  const int64_t num_offsets = cu_seqlens.size(0);
  if (num_offsets < 1) fail("cu_seqlens", "at least 1 offset", "0");
  if (num_offsets == 1 && num_tokens > 0) {
    fail("cu_seqlens", "at least 2 offsets for " + std::to_string(num_tokens) + " rows", "1");
  }
  check_dtype("cu_seqlens", cu_seqlens, {ScalarType::Int});
  if (!key_lengths.has_value()) return;
  check_shape("key_lengths", *key_lengths, {num_offsets - 1});
  check_dtype("key_lengths", *key_lengths, {ScalarType::Int});
}

float check_scale(double scale) {
  const auto narrow = static_cast<float>(scale);
  if (narrow > 0.0f && std::isfinite(narrow)) return narrow;
  char text[32];
  std::snprintf(text, sizeof(text), "%g", scale);  // as Python writes it
  fail("scale", "a finite number above 0", text);
}

void check_layout(int64_t num_tokens, int64_t num_sequences, int64_t max_seqlen,
                  const int32_t* cu_seqlens, const int32_t* key_lengths) {
  const Numbers offsets(cu_seqlens, cu_seqlens + num_sequences + 1);
  Numbers lengths;
  bool decreases = false;
  for (int64_t i = 0; i < num_sequences; ++i) {
    lengths.push_back(offsets[i + 1] - offsets[i]);
    decreases = decreases || lengths.back() < 0;
  }
  if (offsets.front() != 0 || offsets.back() > num_tokens || decreases) {
    fail("cu_seqlens", "offsets from 0 up to at most " + std::to_string(num_tokens) + " rows",
         shortened(offsets));
  }
  const Numbers keys =
      key_lengths == nullptr ? lengths : Numbers(key_lengths, key_lengths + num_sequences);
  for (int64_t i = 0; i < num_sequences; ++i) {
    if (keys[i] >= 0 && keys[i] <= lengths[i]) continue;
    fail("key_lengths", "at most " + shortened(lengths) + " keys", shortened(keys));
  }
  const int64_t longest = lengths.empty() ? 0 : *std::max_element(lengths.begin(), lengths.end());
  if (max_seqlen >= longest) return;
  fail("max_seqlen", "at least " + std::to_string(longest) + ", the longest sequence",
       std::to_string(max_seqlen));
}

}  // namespace bertfast::bindings
