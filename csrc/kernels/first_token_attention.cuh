#pragma once

#include "kernels/first_token_attention.h"
#include "kernels/varlen_attention_softmax.cuh"

namespace bertfast {

// kRowLanes lanes share a key: each has kVectors vectors of it. The keys of a sequence are dealt to
// the groups of lanes of one block.
template <int kElements, int kLanes, int kParts>
struct FirstTokenLayout {
  static constexpr int kWidth = kElements;
  static constexpr int kRowLanes = kLanes;
  static constexpr int kVectors = kParts;
  static constexpr int kMaxHeadSize = kWidth * kRowLanes * kVectors;
  static constexpr int kThreads = 128;
  static constexpr int kGroups = kThreads / kRowLanes;
  // Keys, and as many values, that a group has in flight.
  static constexpr int kKeys = kVectors == 1 ? 4 : 2;
  // What a group leaves in shared memory: its weighted values, their largest score, their weight.
  static constexpr int kSlotFloats = kMaxHeadSize + 2;
  static constexpr size_t kSmemBytes = kGroups * kSlotFloats * sizeof(float);

  __device__ static int group() { return threadIdx.x / kRowLanes; }
  __device__ static int column(int i) {
    return (i * kRowLanes + static_cast<int>(threadIdx.x) % kRowLanes) * kWidth;
  }
};

template <typename T, typename Layout>
class FirstTokenGroup {
 public:
  static constexpr int kWidth = Layout::kWidth, kVectors = Layout::kVectors;
  static constexpr int kKeys = Layout::kKeys;
  using Part = Vector<T, kWidth>[kVectors];

  __device__ __forceinline__ FirstTokenGroup(const T* query, int head_size)
      : head_size_(head_size) {
    Part part = {};
    load_part(query, true, part);
#pragma unroll
    for (int i = 0; i < kVectors; ++i) query_[i] = to_float(part[i]);
  }

  // The keys from `first_key` on of which this group has one in Layout::kGroups. All lanes of a
  // warp take part, also those whose keys are beyond the end.
  __device__ __forceinline__ void add(const T* keys, const T* values, int64_t row_stride,
                                      int first_key, int num_keys, float twice_scale_log2) {
    Part key_parts[kKeys] = {}, value_parts[kKeys] = {};
#pragma unroll
    for (int j = 0; j < kKeys; ++j) {
      const int key = first_key + j * Layout::kGroups + Layout::group();
      load_part(keys + key * row_stride, key < num_keys, key_parts[j]);
      load_part(values + key * row_stride, key < num_keys, value_parts[j]);
    }
    float scores[kKeys], largest = -INFINITY;
#pragma unroll
    for (int j = 0; j < kKeys; ++j) {
      const int key = first_key + j * Layout::kGroups + Layout::group();
      const float score = lanes_sum<Layout::kRowLanes>(dot(key_parts[j]));
      scores[j] = key < num_keys ? score : -INFINITY;
      largest = fmaxf(largest, scores[j]);
    }
    const float rescale = softmax_.raise(largest, twice_scale_log2);
#pragma unroll
    for (int i = 0; i < kVectors * kWidth; ++i) sums_[i / kWidth][i % kWidth] *= rescale;
#pragma unroll
    for (int j = 0; j < kKeys; ++j) {
      const float weight = softmax_.weigh(scores[j], twice_scale_log2);
#pragma unroll
      for (int i = 0; i < kVectors; ++i) {
        const auto value = to_float(value_parts[j][i]);
#pragma unroll
        for (int n = 0; n < kWidth; ++n) sums_[i][n] = fmaf(weight, value[n], sums_[i][n]);
      }
    }
  }

  // For the others of the block to read after the next barrier.
  __device__ __forceinline__ void leave(float* slot) const {
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
#pragma unroll
      for (int n = 0; n < kWidth; ++n) {
        store(slot + Layout::column(i) + n, Vector<float, 1>{sums_[i][n]});
      }
    }
    if (threadIdx.x % Layout::kRowLanes != 0) return;
    store(slot + Layout::kMaxHeadSize, Vector<float, 1>{softmax_.largest()});
    store(slot + Layout::kMaxHeadSize + 1, Vector<float, 1>{softmax_.lane_sum()});
  }

 private:
  // Zeros beyond the end of the head, and where there is no row.
  __device__ __forceinline__ void load_part(const T* row, bool is_present, Part& part) const {
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      part[i] = {};
      if (is_present && Layout::column(i) < head_size_) {
        part[i] = load<kWidth>(row + Layout::column(i));
      }
    }
  }

  __device__ __forceinline__ float dot(const Part& key) const {
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      const auto elements = to_float(key[i]);
#pragma unroll
      for (int n = 0; n < kWidth; ++n) sum = fmaf(query_[i][n], elements[n], sum);
    }
    return sum;
  }

  int head_size_;
  Vector<float, kWidth> query_[kVectors];
  float sums_[kVectors][kWidth] = {};
  SoftmaxRow<1> softmax_;  // all lanes of the group have the same
};

// One element of the result, of what all groups have left.
template <typename T, typename Layout>
__device__ __forceinline__ T merge_groups(int column, float twice_scale_log2) {
  const float* slots = shared_memory<float>();
  SoftmaxRow<1> softmax;
  float sum = 0.0f, total = 0.0f;
  for (int group = 0; group < Layout::kGroups; ++group) {
    const float* slot = slots + group * Layout::kSlotFloats;
    const float largest = load<1>(slot + Layout::kMaxHeadSize)[0];
    const float rescale = softmax.raise(largest, twice_scale_log2);
    const float weight = softmax.weigh(largest, twice_scale_log2);
    sum = fmaf(sum, rescale, weight * load<1>(slot + column)[0]);
    total = fmaf(total, rescale, weight * load<1>(slot + Layout::kMaxHeadSize + 1)[0]);
  }
  // 0, not NaN, where no key had a weight; a value that is no number shows all the same.
  const float normalizer = total == 0.0f ? 0.0f : divide_approx(1.0f, total);
  const Vector<float, 1> result = {sum * normalizer};
  return from_float<T>(result)[0];
}

// One block for one head of one sequence. All heads of a sequence follow each other. The explicit
// 1: see residual_layer_norm_kernel.
template <typename T, typename Layout>
__global__ void __launch_bounds__(Layout::kThreads, 1)
    first_token_attention_kernel(FirstTokenAttentionParams params) {
  const int head = static_cast<int>(blockIdx.x % params.num_heads);
  const int index = static_cast<int>(blockIdx.x / params.num_heads);
  const Sequence sequence = load_sequence(params, index);
  const int head_size = params.head_size;
  const int64_t width = static_cast<int64_t>(params.num_heads) * head_size;
  const int64_t place = index * width + static_cast<int64_t>(head) * head_size;
  const T* keys = static_cast<const T*>(params.key_value) + sequence.first_row * 2 * width +
                  static_cast<int64_t>(head) * head_size;
  const float scale = twice_log2_scale(params);

  FirstTokenGroup<T, Layout> group(static_cast<const T*>(params.query) + place, head_size);
  for (int key = 0; key < sequence.num_keys; key += Layout::kGroups * Layout::kKeys) {
    group.add(keys, keys + width, 2 * width, key, sequence.num_keys, scale);
  }
  group.leave(shared_memory<float>() + Layout::group() * Layout::kSlotFloats);
  sync_block();
  T* out = static_cast<T*>(params.out) + place;
  for (int column = threadIdx.x; column < head_size; column += Layout::kThreads) {
    store(out + column, Vector<T, 1>{merge_groups<T, Layout>(column, scale)});
  }
}

}  // namespace bertfast
