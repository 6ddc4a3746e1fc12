// One attention: its tensors, its launch, and how near to the exact result it has to come.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/varlen_attention.h"
#include "tests/tensor.h"

namespace bertfast::testing {

struct AttentionProblem {
  DType dtype;
  int head_size;
  std::vector<int> lengths;
  std::vector<int> keys = {};  // of each sequence; empty: all its rows
  int compute_capability = 80;
  int num_heads = 1;
  int max_seqlen = 0;      // 0: the longest
  double deviation = 1.0;  // of q, k and v
  uint64_t seed = 0;
  int skipped = 0;  // elements before the tensors, from an aligned address on

  std::string label() const;
  int64_t num_tokens() const;
};

class AttentionRun {
 public:
  explicit AttentionRun(const AttentionProblem& problem);

  VarlenAttentionParams params();
  void launch() { launch(params()); }
  void launch(const VarlenAttentionParams& params);
  // Fails the test if the output of a launch is further from the exact result than its arithmetic
  // explains.
  void check() const;
  void launch_and_check() {
    launch();
    check();
  }

  // Row of `part` (0 q, 1 k, 2 v) of a sequence, in elements of qkv; and of out.
  int64_t offset(int sequence, int row, int part, int head = 0) const;
  int64_t out_offset(int sequence, int row, int head = 0) const;
  void fill(int sequence, int first_row, int last_row, int part, double value);

  const AttentionProblem problem;
  emulation::Stream stream;
  Tensor qkv, out;
  std::vector<int32_t> cu_seqlens, key_lengths;

 private:
  void check_query(int sequence, int row, int head, const std::vector<double>& values) const;
  bool is_exact_path() const;
};

}  // namespace bertfast::testing
