// What is known of a build only when it is made: native_build/ writes the definition.
#pragma once

namespace bertfast::bindings {

struct BuildConfig {
  const char* bertfast_version;
  const char* nvcc_version;
  const char* torch_version;     // whose headers were read
  const char* torch_stable_abi;  // the oldest version of torch that loads the binary
  const char* host_compiler;
  const char* codes;  // machine code and PTX in the binary: "sm_80 sm_90 compute_90"
};

extern const BuildConfig kBuildConfig;

}  // namespace bertfast::bindings
