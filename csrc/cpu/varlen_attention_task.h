// What a thread computes at a time, and the kernels that do.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/varlen_attention.h"

namespace bertfast::cpu {

// Some neighbouring queries of a sequence, in one head, over all of the sequence's keys.
struct AttentionTask {
  int64_t first_query;  // row of qkv
  int64_t first_key;    // row of qkv
  int num_queries;
  int num_keys;
  int head;
};

// All of an attention. A query's result does not depend on how its sequence is cut.
std::vector<AttentionTask> attention_tasks(const VarlenAttentionParams& params, int num_threads);

struct AttentionKernel {
  // For tasks of at most so many queries and keys.
  int64_t (*scratch_bytes)(int head_size, int num_queries, int num_keys);
  // scratch: at a multiple of 64 bytes, of any content.
  void (*attend)(const VarlenAttentionParams& params, const AttentionTask* tasks, int64_t num_tasks,
                 void* scratch);
};

extern const AttentionKernel kAttentionBFloat16Amx;
extern const AttentionKernel kAttentionFloat32;

}  // namespace bertfast::cpu
