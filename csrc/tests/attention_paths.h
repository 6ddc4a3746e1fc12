// The ways through the launcher of the attention, for its tests.
#pragma once

#include <vector>

#include "tests/attention_run.h"

namespace bertfast::testing {

inline constexpr DType kF32 = DType::kFloat32, kF16 = DType::kFloat16, kBF16 = DType::kBFloat16;
inline constexpr int kTuring = 75, kAmpere = 80;

struct AttentionPath {
  DType dtype;
  int head_size;
  int compute_capability;
};

inline const std::vector<AttentionPath> kAttentionPaths = {
    {kF16, 64, kAmpere},  {kBF16, 64, kAmpere}, {kF16, 64, kTuring},  {kF16, 32, kAmpere},
    {kBF16, 32, kAmpere}, {kF16, 32, kTuring},  {kF16, 128, kAmpere}, {kBF16, 128, kAmpere},
    {kF16, 128, kTuring}, {kF32, 64, kAmpere},  {kF32, 40, kTuring},  {kF16, 40, kAmpere},
    {kF32, 200, kAmpere},
};

// Lengths of the sequences of a batch, for each kernel that the launcher may choose.
inline const std::vector<std::vector<int>> kAttentionBatches = {
    {33, 0, 1, 50}, {100, 17, 0, 2}, {140, 0, 40, 1}};

inline AttentionProblem problem_of(const AttentionPath& path, const std::vector<int>& lengths,
                                   const std::vector<int>& keys = {}) {
  AttentionProblem problem = {path.dtype, path.head_size, lengths, keys};
  problem.compute_capability = path.compute_capability;
  return problem;
}

}  // namespace bertfast::testing
