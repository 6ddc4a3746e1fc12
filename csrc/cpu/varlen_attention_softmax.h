// softmax of 16 queries' scores, as far as a block of keys goes.
#pragma once

#include <cfloat>
#include <cmath>

#include "cpu/varlen_attention_tiles.h"

namespace bertfast::cpu {
namespace {

// Keys are taken in steps of two tiles.
constexpr int kStepKeys = 32;
constexpr int kStepFloats = kStepKeys * kTileRows;

// A polynomial near 2^x for x from 0 to 1, and exactly 1 at 0.
inline __m512 exp2_fraction(__m512 x, const float* coefficients, int degree) {
  __m512 p = _mm512_set1_ps(coefficients[degree - 1]);
#pragma GCC unroll 8
  for (int i = degree - 2; i >= 0; --i) p = _mm512_fmadd_ps(p, x, _mm512_set1_ps(coefficients[i]));
  return _mm512_fmadd_ps(p, x, _mm512_set1_ps(1.0f));
}

// 2^x for x <= 0, -infinity and NaN: within 1e-7 of it, or within 3e-6, much less than bfloat16
// shows.
template <bool kRough>
inline __m512 exp2_of(__m512 x) {
  constexpr int kMinusFloor = 0x09;
  constexpr float kRoughly[] = {0.693044841f, 0.241280198f, 0.0522424728f, 0.0134266848f};
  constexpr float kClosely[] = {0.693151295f, 0.240164444f, 0.0557999127f, 0.0090170307f,
                                0.00186713005f};
  const __m512 fraction = _mm512_reduce_ps(x, kMinusFloor);
  const __m512 power =
      kRough ? exp2_fraction(fraction, kRoughly, 4) : exp2_fraction(fraction, kClosely, 5);
  return _mm512_scalef_ps(power, x);
}

// 2 * scale * log2(e), or the largest float: infinity times a difference of 0 would be NaN.
inline float twice_log2_scale(float scale) {
  const float twice = scale * 2.88539008f;
  return twice < FLT_MAX ? twice : FLT_MAX;
}

// What is known of 16 queries after some blocks of keys. A score of x weighs exp(scale * (x -
// maximum)).
//
// The maximum starts at the lowest float: a score of -infinity weighs 0 then, also where there are
// no others.
struct alignas(64) SoftmaxState {
  float maximum[kTileRows];
  float sum[kTileRows];
  float rescale[kTileRows];  // what came of earlier blocks has to be multiplied by it
};

inline void reset(SoftmaxState& state) {
  _mm512_store_ps(state.maximum, _mm512_set1_ps(-FLT_MAX));
  _mm512_store_ps(state.sum, _mm512_setzero_ps());
}

// Scores of keys that fill up the last step weigh nothing.
inline void hide_keys(float* scores, int num_keys, int num_steps, int num_rows) {
  for (int tile = num_keys / 16; tile < 2 * num_steps; ++tile) {
    const int first = num_keys - tile * 16;
    const auto hidden = static_cast<__mmask16>(0xffffu << (first > 0 ? first : 0));
    for (int r = 0; r < num_rows; ++r) {
      float* row = scores + tile * 256 + r * 16;
      _mm512_store_ps(row,
                      _mm512_mask_mov_ps(_mm512_load_ps(row), hidden, _mm512_set1_ps(-INFINITY)));
    }
  }
}

// NaN may be lost here: it comes back in the sum of the weights.
inline void raise_maximum(const float* scores, int num_steps, int num_rows, SoftmaxState& state,
                          __m512 factor) {
  alignas(64) float partial[kTileRows * 16];
  for (int r = 0; r < num_rows; ++r) {
    const float* row = scores + r * 16;
    __m512 low = _mm512_load_ps(row), high = _mm512_load_ps(row + 256);
    for (int step = 1; step < num_steps; ++step) {
      low = _mm512_max_ps(low, _mm512_load_ps(row + step * kStepFloats));
      high = _mm512_max_ps(high, _mm512_load_ps(row + step * kStepFloats + 256));
    }
    _mm512_store_ps(partial + r * 16, _mm512_max_ps(low, high));
  }
  const __m512 found = reduce_rows(partial, [](__m512 a, __m512 b) { return _mm512_max_ps(a, b); });
  const __m512 before = _mm512_load_ps(state.maximum), half = _mm512_set1_ps(0.5f);
  const __m512 maximum = _mm512_max_ps(found, before);
  const __m512 raised = _mm512_fmsub_ps(before, half, _mm512_mul_ps(maximum, half));
  _mm512_store_ps(state.rescale, exp2_of<false>(_mm512_mul_ps(raised, factor)));
  _mm512_store_ps(state.maximum, maximum);
}

// Turns scores into weights, which take their place: E::put_weights stores 32 of a row.
template <typename E>
inline void softmax_tiles(float* scores, int num_steps, int num_rows, float twice_log2_scale,
                          SoftmaxState& state) {
  const __m512 factor = _mm512_set1_ps(twice_log2_scale), half = _mm512_set1_ps(0.5f);
  raise_maximum(scores, num_steps, num_rows, state, factor);
  alignas(64) float partial[kTileRows * 16];
  for (int r = 0; r < num_rows; ++r) {
    // Half of the difference, which cannot overflow.
    const __m512 half_maximum = _mm512_set1_ps(0.5f * state.maximum[r]);
    const auto weigh = [&](const float* at) {
      const __m512 difference = _mm512_fmsub_ps(_mm512_load_ps(at), half, half_maximum);
      return exp2_of<E::kRoughWeights>(_mm512_mul_ps(difference, factor));
    };
    __m512 low_sum = _mm512_setzero_ps(), high_sum = _mm512_setzero_ps();
    for (int step = 0; step < num_steps; ++step) {
      float* row = scores + step * kStepFloats + r * 16;
      const __m512 low = weigh(row), high = weigh(row + 256);
      low_sum = _mm512_add_ps(low_sum, low);
      high_sum = _mm512_add_ps(high_sum, high);
      E::put_weights(low, high, scores + step * kStepFloats, r);
    }
    _mm512_store_ps(partial + r * 16, _mm512_add_ps(low_sum, high_sum));
  }
  const __m512 sum = reduce_rows(partial, [](__m512 a, __m512 b) { return _mm512_add_ps(a, b); });
  const __m512 before = _mm512_mul_ps(_mm512_load_ps(state.sum), _mm512_load_ps(state.rescale));
  _mm512_store_ps(state.sum, _mm512_add_ps(before, sum));
}

}  // namespace
}  // namespace bertfast::cpu
