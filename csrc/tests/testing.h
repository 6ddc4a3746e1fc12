// The little that the tests here need of a framework.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "emulation/location.h"

namespace bertfast::testing {

using emulation::Location;

struct Test {
  const char* name;
  std::function<void()> run;
};

// Runs them all, or the one that the environment names in BERTFAST_TEST, and reports each. The exit
// status of the program: 0 if none has failed.
int run_tests(const std::vector<Test>& tests);

// Whether the environment has BERTFAST_TEST_BRIEF: under a sanitizer a test takes ten times as
// long.
bool is_brief();

// All of the values, or every other one where tests are to be brief.
template <typename T>
std::vector<T> some_of(const std::vector<T>& values) {
  std::vector<T> chosen;
  for (size_t i = 0; i < values.size(); i += is_brief() ? 2 : 1) chosen.push_back(values[i]);
  return chosen;
}

// Fails the test that runs.
void expect(bool condition, const std::string& message, Location where = Location::here());
void expect_contains(const std::string& text, const std::string& part,
                     Location where = Location::here());

}  // namespace bertfast::testing
