// The element types that kernels store. They all compute in float.
#pragma once

namespace bertfast {

enum class DType { kFloat32, kFloat16, kBFloat16 };

}  // namespace bertfast
