#include "tests/testing.h"

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <string_view>

namespace bertfast::testing {

int run_tests(const std::vector<Test>& tests) {
  const char* only = std::getenv("BERTFAST_TEST");
  int num_failed = 0;
  for (const Test& test : tests) {
    if (only != nullptr && std::string_view(only) != test.name) continue;
    try {
      test.run();
      std::printf("ok    %s\n", test.name);
    } catch (const std::exception& error) {
      ++num_failed;
      std::printf("FAIL  %s\n      %s\n", test.name, error.what());
    }
  }
  std::printf("%zu tests, %d failed\n", tests.size(), num_failed);
  return num_failed == 0 ? 0 : 1;
}

bool is_brief() { return std::getenv("BERTFAST_TEST_BRIEF") != nullptr; }

void expect(bool condition, const std::string& message, Location where) {
  if (condition) return;
  throw std::runtime_error(std::string(where.file) + ":" + std::to_string(where.line) + ": " +
                           message);
}

void expect_contains(const std::string& text, const std::string& part, Location where) {
  expect(text.find(part) != std::string::npos, "\"" + part + "\" is not in \"" + text + "\"",
         where);
}

}  // namespace bertfast::testing
