// The little that the tests here need of a framework.
#pragma once

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

// Runs them all and reports each. The exit status of the program: 0 if none has failed.
int run_tests(const std::vector<Test>& tests);

// Fails the test that runs.
void expect(bool condition, const std::string& message, Location where = Location::here());
void expect_contains(const std::string& text, const std::string& part,
                     Location where = Location::here());

}  // namespace bertfast::testing
