// Whatever cu_seqlens and key_lengths hold, only rows of qkv are read and only rows of out written.
#include <climits>
#include <random>
#include <vector>

#include "tests/attention_run.h"
#include "tests/testing.h"

namespace bertfast::testing {
namespace {

constexpr int kTokens = 150, kSequences = 40;

const std::vector<AttentionProblem> kProblems = {
    {DType::kFloat16, 64, {kTokens}},   {DType::kFloat16, 32, {kTokens}, {}, 75},
    {DType::kBFloat16, 128, {kTokens}}, {DType::kFloat32, 40, {kTokens}},
    {DType::kFloat32, 200, {kTokens}},
};

// The emulation refuses every access outside of the tensors.
void launch_with(const AttentionProblem& problem, std::vector<int32_t> offsets,
                 std::vector<int32_t> keys) {
  // Each of the kernels: short of 64 rows, of 128, and flash.
  for (const int max_seqlen : {1, 64, 100, kTokens}) {
    AttentionRun run(problem);
    run.stream.memory.add(offsets.data(), offsets.size() * sizeof(int32_t), "offsets");
    run.stream.memory.add(keys.data(), keys.size() * sizeof(int32_t), "keys");
    VarlenAttentionParams params = run.params();
    params.cu_seqlens = offsets.data();
    params.num_sequences = static_cast<int>(offsets.size()) - 1;
    params.key_lengths = keys.empty() ? nullptr : keys.data();
    params.max_seqlen = max_seqlen;
    run.launch(params);
  }
}

void test_wrong_offsets() {
  const std::vector<std::vector<int32_t>> layouts = {
      {0, kTokens + 1},
      {0, kTokens - 1},
      {1, kTokens},
      {-1, kTokens},
      {0, 100, 50, kTokens},
      {kTokens, 0},
      {INT_MAX, INT_MIN, INT_MAX},
      {INT_MIN, INT_MAX, INT_MIN, INT_MAX},
      {INT_MAX, INT_MAX},
      {INT_MIN, INT_MIN},
      {0, 0, 0},
  };
  for (const AttentionProblem& problem : kProblems) {
    for (const auto& offsets : layouts) launch_with(problem, offsets, {});
  }
}

void test_wrong_key_lengths() {
  for (const AttentionProblem& problem : kProblems) {
    for (const int32_t keys : {-1, 71, kTokens, INT_MIN, INT_MAX}) {
      launch_with(problem, {0, 80, kTokens}, {keys, keys});
    }
  }
}

void test_any_numbers() {
  std::mt19937 random(3);
  std::vector<int32_t> offsets(kSequences + 1), keys(kSequences);
  for (int i = 0; i < (is_brief() ? 3 : 10); ++i) {
    const bool is_near = i % 2 == 0;
    const auto any = [&] {
      const auto number = static_cast<int32_t>(random());
      return is_near ? number % (2 * kTokens) : number;
    };
    for (int32_t& offset : offsets) offset = any();
    for (int32_t& number : keys) number = any();
    for (const AttentionProblem& problem : kProblems) launch_with(problem, offsets, keys);
  }
}

}  // namespace
}  // namespace bertfast::testing

int main() {
  using namespace bertfast::testing;
  return run_tests({
      {"wrong offsets", test_wrong_offsets},
      {"wrong key lengths", test_wrong_key_lengths},
      {"any numbers", test_any_numbers},
  });
}
