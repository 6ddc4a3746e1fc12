#include "kernels/pad_input.cuh"

namespace bertfast {

cudaError_t launch_pad_input(const PadInputParams& params, cudaStream_t stream) {
  const int64_t row_bytes = static_cast<int64_t>(params.hidden_size) * element_bytes(params.dtype);
  if (params.num_positions == 0 || params.hidden_size == 0) return cudaSuccess;
  if (row_bytes == 0) return cudaErrorInvalidValue;  // an unknown dtype
  if (!are_aligned(sizeof(int64_t), {params.indices}) ||
      !are_aligned(sizeof(int32_t), {params.num_tokens})) {
    return cudaErrorInvalidValue;
  }
  return dispatch_copy_unit(row_bytes, params.x, params.out, [&](auto unit) {
    using Unit = decltype(unit);
    const PadInputTask task = {params, static_cast<int>(row_bytes / sizeof(typename Unit::Word))};
    return launch_copy(pad_input_kernel<Unit>, params.num_positions, task, stream);
  });
}

}  // namespace bertfast
