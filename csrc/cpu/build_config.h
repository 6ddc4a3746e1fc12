// What is known of a build only when it is made: native_build/ writes the definition.
#pragma once

namespace bertfast::cpu {

struct BuildConfig {
  const char* bertfast_version;
  const char* compiler;
  const char* pybind11_version;
  const char* sources;  // bertfast/cpu_sources.py
};

extern const BuildConfig kBuildConfig;

}  // namespace bertfast::cpu
