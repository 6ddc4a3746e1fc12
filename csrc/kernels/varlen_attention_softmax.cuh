// What becomes of the scores of a query: which count, and what each weighs.
#pragma once

#include "kernels/intrinsics.cuh"
#include "kernels/varlen_attention_tiles.cuh"

namespace bertfast {

struct KeyRange {
  int begin;
  int end;
};

// A score modifier says which keys a block of queries has to look at and changes scores before the
// softmax. This one leaves out the rows that are no keys. A sliding window would narrow `keys` and
// test the distance of query and key; an additive bias would change each score. (Rotary positions
// are no business of the scores: they would turn queries and keys on the way to shared memory.)
// Every query needs a finite score among the first keys that it meets, or none at all.
struct KeyMask {
  int num_keys;

  __device__ __forceinline__ explicit KeyMask(const Sequence& sequence)
      : num_keys(sequence.num_keys) {}

  __device__ __forceinline__ KeyRange keys(int /*first_query*/, int /*num_queries*/) const {
    return {0, num_keys};
  }
  // Whether any score of these keys has to be changed.
  __device__ __forceinline__ bool changes(int first_key, int count) const {
    return first_key + count > num_keys;
  }
  __device__ __forceinline__ float changed(float score, int /*query*/, int key) const {
    return key < num_keys ? score : -INFINITY;
  }
};

template <int kLanes>
__device__ __forceinline__ float lanes_max(float value) {
#pragma unroll
  for (int mask = kLanes / 2; mask > 0; mask /= 2) value = fmaxf(value, shuffle_xor(value, mask));
  return value;
}

template <int kLanes>
__device__ __forceinline__ float lanes_sum(float value) {
#pragma unroll
  for (int mask = kLanes / 2; mask > 0; mask /= 2) value += shuffle_xor(value, mask);
  return value;
}

// softmax(scale * scores) of one query, whose scores kLanes neighbouring lanes share. It is taken
// as a power of two, with scale * log2(e) in one multiplication.
template <int kLanes>
struct SoftmaxRow {
  float max_exponent = -INFINITY;
  float sum = 0.0f;  // of this lane's weights

  // Goes on to scores of which this lane's largest is `lane_max`. What came of earlier ones has to
  // be multiplied by the result. The exponent is kept as it was rounded, so that its error is in
  // every weight and cancels.
  __device__ __forceinline__ float raise(float lane_max, float scale_log2) {
    const float previous = max_exponent;
    max_exponent = fmaxf(previous, lanes_max<kLanes>(lane_max) * scale_log2);
    const float rescale = exp2_approx(previous - max_exponent);
    sum *= rescale;
    return rescale;
  }

  __device__ __forceinline__ float weigh(float score, float scale_log2) {
    const float weight = exp2_approx(fmaf(score, scale_log2, -max_exponent));
    sum += weight;
    return weight;
  }

  // What the weighted sum of values has to be multiplied by: 0, not NaN, where there was no key.
  __device__ __forceinline__ float normalizer() const {
    const float total = lanes_sum<kLanes>(sum);
    return total == 0.0f ? 0.0f : divide_approx(1.0f, total);
  }
};

__device__ __forceinline__ float log2_scale(const VarlenAttentionParams& params) {
  constexpr float kLog2E = 1.44269504f;
  return params.scale * kLog2E;
}

}  // namespace bertfast
