// What the launcher of the attention makes of its parameters.
#include <cmath>
#include <string>
#include <vector>

#include "kernels/varlen_attention.h"
#include "tests/attention_paths.h"
#include "tests/testing.h"

namespace bertfast::testing {
namespace {

void test_misaligned_tensors() {
  for (const DType dtype : kDTypes) {
    AttentionProblem problem = {dtype, 64, {65, 3}};
    problem.skipped = 1;
    AttentionRun(problem).launch_and_check();
  }
}

void test_empty() {
  AttentionRun({kF16, 64, {}}).launch();
  AttentionRun({kF16, 64, {0, 0}}).launch();
  AttentionRun({kF32, 0, {3}}).launch();
}

// Beyond 2^32 elements: only the end of qkv and out exists, and only its blocks run.
void test_offsets_are_64_bit() {
  constexpr int64_t kTokens = 30000000;
  for (const int length : {20, 100, 140}) {
    for (const AttentionPath& path : some_of(kAttentionPaths)) {
      AttentionProblem problem = problem_of(path, {length});
      problem.num_heads = 3;
      AttentionRun run(problem);
      VarlenAttentionParams params = run.params();
      const int64_t row = 3 * path.head_size;
      params.qkv = run.qkv.begin_as_end_of(kTokens * 3 * row);
      params.out = run.out.begin_as_end_of(kTokens * row);
      params.num_tokens = kTokens;
      params.num_sequences = 2;
      const int32_t start = static_cast<int32_t>(kTokens) - length;
      const std::vector<int32_t> cu_seqlens = {0, start, start + length};
      run.stream.memory.add(cu_seqlens.data(), sizeof(int32_t) * 3, "cu_seqlens");
      params.cu_seqlens = cu_seqlens.data();
      const bool is_exact = path.dtype == kF32 || path.head_size == 40;
      const bool is_short = !is_exact && length <= (path.head_size == 128 ? 64 : 128);
      const int tile_rows = is_exact && path.head_size > 128 ? 32 : 64;
      run.stream.first_block = 3 * (is_short ? 1 : start / tile_rows + 1);
      run.launch(params);
      run.check();
    }
  }
}

void test_impossible_params() {
  AttentionRun run({kF16, 64, {5}});
  const auto is_refused = [&](const std::string& what, auto change) {
    VarlenAttentionParams params = run.params();
    change(params);
    expect(launch_varlen_attention(params, &run.stream) == cudaErrorInvalidValue, what);
  };
  using Params = VarlenAttentionParams;
  is_refused("heads too large", [](Params& p) { p.head_size = kMaxHeadSize + 1; });
  is_refused("rows too long", [](Params& p) { p.num_heads = 1 << 18; });
  is_refused("offsets do not fit", [](Params& p) { p.num_tokens = int64_t{1} << 31; });
  is_refused("too many blocks",
             [](Params& p) { p.num_tokens = 2147483647, p.num_heads = 4096, p.max_seqlen = 300; });
  is_refused("too many short blocks",
             [](Params& p) { p.num_sequences = 2147483647, p.num_heads = 2; });
  is_refused("rows of no sequence", [](Params& p) { p.num_sequences = 0; });
  is_refused("fewer sequences than none", [](Params& p) { p.num_sequences = -1; });
  is_refused("a longest sequence below none", [](Params& p) { p.max_seqlen = -1; });
  is_refused("a device too old", [](Params& p) { p.compute_capability = 70; });
  is_refused("a dtype that the device has not",
             [](Params& p) { p.dtype = kBF16, p.compute_capability = kTuring; });
  is_refused("unknown dtype", [](Params& p) { p.dtype = static_cast<DType>(7); });
  for (const float scale : {0.0f, -1.0f, INFINITY, NAN}) {
    is_refused("scale " + std::to_string(scale), [&](Params& p) { p.scale = scale; });
  }
}

}  // namespace
}  // namespace bertfast::testing

int main() {
  using namespace bertfast::testing;
  return run_tests({
      {"misaligned tensors", test_misaligned_tensors},
      {"empty", test_empty},
      {"offsets are 64-bit", test_offsets_are_64_bit},
      {"impossible params", test_impossible_params},
  });
}
