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

// softmax(scale * scores) of one query, whose scores kLanes neighbouring lanes share: a score of x
// weighs exp(scale * (x - max)). The difference is taken before it is scaled, so that the largest
// weighs exactly 1 however large it is. A score of -infinity weighs 0, also where there are no
// others; one of infinity or NaN makes the result NaN.
template <int kLanes>
class SoftmaxRow {
 public:
  // Goes on to scores of which this lane's largest is `lane_max`. What came of earlier ones has to
  // be multiplied by the result.
  __device__ __forceinline__ float raise(float lane_max, float twice_scale_log2) {
    const float previous = max_;
    max_ = fmaxf(previous, lanes_max<kLanes>(lane_max));
    const float rescale = power(previous, twice_scale_log2);
    sum_ *= rescale;
    return rescale;
  }

  __device__ __forceinline__ float weigh(float score, float twice_scale_log2) {
    const float weight = power(score, twice_scale_log2);
    sum_ += weight;
    return weight;
  }

  // What the weighted sum of values has to be multiplied by: 0, not NaN, where there was no key.
  __device__ __forceinline__ float normalizer() const {
    const float total = lanes_sum<kLanes>(sum_);
    return total == 0.0f ? 0.0f : divide_approx(1.0f, total);
  }

  __device__ __forceinline__ float largest() const { return max_; }
  __device__ __forceinline__ float lane_sum() const { return sum_; }

 private:
  // Half of the difference, which cannot overflow. -infinity - -infinity would be NaN.
  __device__ __forceinline__ float power(float score, float twice_scale_log2) const {
    const float half_max = max_ == -INFINITY ? 0.0f : 0.5f * max_;
    return exp2_approx(fmaf(score, 0.5f, -half_max) * twice_scale_log2);
  }

  float max_ = -INFINITY;
  float sum_ = 0.0f;  // of this lane's weights
};

// 2 * scale * log2(e), or the largest float: infinity times a difference of 0 would be NaN.
template <typename Params>
__device__ __forceinline__ float twice_log2_scale(const Params& params) {
  constexpr float kTwiceLog2E = 2.88539008f, kMaxFloat = 3.402823466e38f;
  return fminf(params.scale * kTwiceLog2E, kMaxFloat);
}

}  // namespace bertfast
