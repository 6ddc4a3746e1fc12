#include <algorithm>
#include <cmath>
#include <cstring>

#include "cpu/packing.h"
#include "cpu/parallel.h"

namespace bertfast::cpu {
namespace {

constexpr float kLargestCode = 127.0f;
// A row of zeros gets a scale all the same.
constexpr float kSmallestScale = 0x1p-120f;

uint16_t to_bfloat16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if ((bits & 0x7fffffff) > 0x7f800000) return static_cast<uint16_t>(bits >> 16 | 0x40);  // NaN
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// Calls put(column, k, element's place) for all elements of a panel; the rest of it is zero.
// Element: what a word holds several of.
template <typename Element, typename Put>
void fill_panel(Operand operand, int64_t panel, int64_t columns, int64_t k, uint8_t* panels,
                const Put& put) {
  constexpr int kInWord = 4 / sizeof(Element);
  const int64_t steps = k_steps(operand, k);
  auto* words = reinterpret_cast<Element*>(panels + panel * steps * kPanelStepBytes);
  std::memset(words, 0, steps * kPanelStepBytes);
  const int64_t first = panel * kPanelColumns;
  const int64_t count = std::min<int64_t>(kPanelColumns, columns - first);
  for (int64_t column = 0; column < count; ++column) {
    for (int64_t i = 0; i < k; ++i) {
      const int64_t step = i / k_step(operand), word = i % k_step(operand) / kInWord;
      const int64_t tile = step * 2 + column / kTileRows;
      const int64_t place = ((tile * kTileRows + word) * kTileRows + column % kTileRows) * kInWord;
      put(first + column, i, words[place + i % kInWord]);
    }
  }
}

// The scale of a column of the result; infinite or NaN if one of its weights is.
float scale_of(const float* weight, int64_t k) {
  float largest = 0;
  for (int64_t i = 0; i < k; ++i) {
    const float size = std::fabs(weight[i]);
    if (!(size <= largest)) largest = size;  // NaN stays: nothing is at most NaN
    if (std::isnan(largest)) return largest;
  }
  return std::max(largest / kLargestCode, kSmallestScale);
}

int8_t code_of(float value, float scale) {
  const float code = std::nearbyint(value / scale);
  return static_cast<int8_t>(std::isfinite(code) ? code : 0);
}

}  // namespace

void pack_weight_bfloat16(const PackBFloat16Params& params) {
  parallel_for(0, num_panels(params.columns), 1, [&](int64_t begin, int64_t end) {
    for (int64_t panel = begin; panel < end; ++panel) {
      fill_panel<uint16_t>(Operand::kBFloat16, panel, params.columns, params.k, params.panels,
                           [&](int64_t column, int64_t i, uint16_t& place) {
                             place = to_bfloat16(params.weight[column * params.k + i]);
                           });
    }
  });
}

void pack_weight_int8(const PackInt8Params& params) {
  parallel_for(0, num_panels(params.columns), 1, [&](int64_t begin, int64_t end) {
    for (int64_t panel = begin; panel < end; ++panel) {
      const int64_t first = panel * kPanelColumns;
      const int64_t last = std::min(first + kPanelColumns, params.columns);
      for (int64_t column = first; column < last; ++column) {
        params.scales[column] = scale_of(params.weight + column * params.k, params.k);
        params.sums[column] = 0;
      }
      fill_panel<int8_t>(Operand::kInt8, panel, params.columns, params.k, params.panels,
                         [&](int64_t column, int64_t i, int8_t& place) {
                           place =
                               code_of(params.weight[column * params.k + i], params.scales[column]);
                           params.sums[column] += static_cast<float>(place);  // exact
                         });
      for (int64_t column = first; column < last; ++column) {
        params.sums[column] *= params.scales[column];
      }
    }
  });
}

}  // namespace bertfast::cpu
