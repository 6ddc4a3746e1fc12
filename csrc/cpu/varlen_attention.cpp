#include "cpu/varlen_attention.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "cpu/features.h"
#include "cpu/parallel.h"
#include "cpu/scratch.h"
#include "cpu/varlen_attention_task.h"

namespace bertfast::cpu {
namespace {

void check_sequence(const VarlenAttentionParams& params, int64_t b) {
  const int64_t begin = params.cu_seqlens[b], end = params.cu_seqlens[b + 1];
  const std::string sequence = " of sequence " + std::to_string(b);
  if (begin < 0 || end < begin || end > params.num_tokens) {
    throw std::invalid_argument("cu_seqlens: expected offsets from 0 up to at most " +
                                std::to_string(params.num_tokens) + " rows, got " +
                                std::to_string(begin) + " to " + std::to_string(end) + sequence);
  }
  if (params.key_lengths == nullptr) return;
  const int64_t keys = params.key_lengths[b];
  if (keys < 0 || keys > end - begin) {
    throw std::invalid_argument("key_lengths: expected at most " + std::to_string(end - begin) +
                                " keys, got " + std::to_string(keys) + sequence);
  }
}

void check(const VarlenAttentionParams& params) {
  if (params.cu_seqlens[0] != 0) {
    throw std::invalid_argument("cu_seqlens: expected offsets from 0, got " +
                                std::to_string(params.cu_seqlens[0]));
  }
  for (int64_t b = 0; b < params.num_sequences; ++b) check_sequence(params, b);
}

const AttentionKernel& kernel_of(DType dtype) {
  if (dtype == DType::kFloat32) return kAttentionFloat32;
  if (dtype == DType::kBFloat16 && has_amx_bf16()) return kAttentionBFloat16Amx;
  throw std::invalid_argument("qkv: expected float32, or bfloat16 on a CPU with AMX");
}

void clear_spare_rows(const VarlenAttentionParams& params) {
  const int64_t used = params.cu_seqlens[params.num_sequences];
  const int64_t element_bytes = params.dtype == DType::kFloat32 ? 4 : 2;
  const int64_t row_bytes = element_bytes * params.num_heads * params.head_size;
  if (used == params.num_tokens) return;
  std::memset(static_cast<char*>(params.out) + used * row_bytes, 0,
              (params.num_tokens - used) * row_bytes);
}

// How many threads are worth waking. Some columns and rows are for what a task costs at least.
int64_t count_workers(const std::vector<AttentionTask>& tasks, int head_size, int num_threads) {
  constexpr int64_t kProductsPerWorker = 800'000;
  int64_t products = 0;
  for (const AttentionTask& task : tasks) {
    products += (task.num_queries + int64_t{16}) * (task.num_keys + int64_t{16}) * head_size;
  }
  const auto most = std::min<int64_t>(num_threads, static_cast<int64_t>(tasks.size()));
  return std::min(most, products / kProductsPerWorker + 1);
}

void run(const VarlenAttentionParams& params, const AttentionKernel& kernel) {
  const int threads = num_threads();
  const std::vector<AttentionTask> tasks = attention_tasks(params, threads);
  int queries = 0, keys = 0;
  for (const AttentionTask& task : tasks) {
    queries = std::max(queries, task.num_queries);
    keys = std::max(keys, task.num_keys);
  }
  if (tasks.empty()) return;
  const int64_t bytes = kernel.scratch_bytes(params.head_size, queries, keys);
  const auto count = static_cast<int64_t>(tasks.size());
  const int64_t workers = count_workers(tasks, params.head_size, threads);
  // Tasks differ in size: each worker takes some, and comes back for more.
  const int64_t portion = workers == 1 ? count : std::max<int64_t>(1, count / (workers * 8));
  std::atomic<int64_t> next{0};
  parallel_for(0, workers, 1, [&](int64_t, int64_t) {
    void* scratch = thread_block(bytes);
    for (int64_t i = next.fetch_add(portion); i < count; i = next.fetch_add(portion)) {
      kernel.attend(params, tasks.data() + i, std::min(portion, count - i), scratch);
    }
  });
}

}  // namespace

void varlen_attention(const VarlenAttentionParams& params) {
  check(params);
  const AttentionKernel& kernel = kernel_of(params.dtype);
  clear_spare_rows(params);
  run(params, kernel);
}

}  // namespace bertfast::cpu
