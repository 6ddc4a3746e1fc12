// The element types that kernels store, and those of the numbers of rows that they read.
#pragma once

namespace bertfast {

// Kernels compute in float, whatever they store.
enum class DType { kFloat32, kFloat16, kBFloat16 };

enum class IdDType { kInt32, kInt64 };

}  // namespace bertfast
