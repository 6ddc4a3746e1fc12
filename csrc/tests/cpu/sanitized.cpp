// All CPU kernels at once, from several threads that have several threads each, for sanitizers:
// everybody gets the bits that one thread gets alone.
#include <atomic>
#include <cstdio>
#include <thread>

#include "cpu/features.h"
#include "tests/cpu/cases.h"
#include "tests/cpu/pool.h"

namespace bertfast::cpu::testing {
namespace {

constexpr int kCallers = 3, kThreads = 3;

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const auto& some : {row_cases(), attention_cases(), dense_cases(), error_cases()}) {
    cases.insert(cases.end(), some.begin(), some.end());
  }
  return cases;
}

// Each caller starts elsewhere, so that different kernels meet; the last ones of all meet alike.
void call_all(const std::vector<Case>& cases, const std::vector<std::string>& expected, int caller,
              std::atomic<int>& wrong) {
  set_num_threads(kThreads);
  for (const size_t first : {caller * cases.size() / kCallers, size_t{0}}) {
    for (size_t i = 0; i < cases.size(); ++i) {
      const size_t at = (first + i) % cases.size();
      if (cases[at].run() == expected[at]) continue;
      std::printf("%s: other bits than alone\n", cases[at].name.c_str());
      ++wrong;
    }
  }
}

int count_wrong(Isa isa) {
  limit_isa(isa);
  const std::vector<Case> cases = all_cases();
  std::vector<std::string> expected;
  for (const Case& one : cases) expected.push_back(one.run());
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < kCallers; ++caller) {
    callers.emplace_back([&, caller] { call_all(cases, expected, caller, wrong); });
  }
  for (std::thread& caller : callers) caller.join();
  std::printf("%zu cases, %d other bits\n", cases.size(), wrong.load());
  return wrong;
}

}  // namespace
}  // namespace bertfast::cpu::testing

int main() {
  namespace cpu = bertfast::cpu;
  if (!cpu::has_avx512()) return 2;
  cpu::use_thread_pool(cpu::testing::short_lived_threads());
  return cpu::testing::count_wrong(cpu::Isa::kAmx) + cpu::testing::count_wrong(cpu::Isa::kAvx512)
             ? 1
             : 0;
}
