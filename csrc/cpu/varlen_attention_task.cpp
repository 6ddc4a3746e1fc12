#include "cpu/varlen_attention_task.h"

#include <algorithm>

namespace bertfast::cpu {
namespace {

// What is kept of each query of a task is bounded, and a piece below the least number spends more
// on its sequence's keys than it gains.
constexpr int kMostQueries = 256, kFewestQueries = 64;

int64_t count_tasks(const VarlenAttentionParams& params, int piece) {
  int64_t count = 0;
  for (int64_t b = 0; b < params.num_sequences; ++b) {
    count += (params.cu_seqlens[b + 1] - params.cu_seqlens[b] + piece - 1) / piece;
  }
  return count * params.num_heads;
}

}  // namespace

std::vector<AttentionTask> attention_tasks(const VarlenAttentionParams& params, int num_threads) {
  int piece = kMostQueries;
  while (piece > kFewestQueries && count_tasks(params, piece) < 2 * num_threads) piece /= 2;
  std::vector<AttentionTask> tasks;
  tasks.reserve(count_tasks(params, piece));
  for (int64_t b = 0; b < params.num_sequences; ++b) {
    const int64_t first = params.cu_seqlens[b];
    const int length = params.cu_seqlens[b + 1] - params.cu_seqlens[b];
    const int keys = params.key_lengths == nullptr ? length : params.key_lengths[b];
    for (int query = 0; query < length; query += piece) {
      for (int head = 0; head < params.num_heads; ++head) {
        tasks.push_back({first + query, first, std::min(piece, length - query), keys, head});
      }
    }
  }
  return tasks;
}

}  // namespace bertfast::cpu
