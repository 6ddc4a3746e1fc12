#include "kernels/gather_first.cuh"

namespace bertfast {

cudaError_t launch_gather_first(const GatherFirstParams& params, cudaStream_t stream) {
  const int64_t row_bytes = static_cast<int64_t>(params.hidden_size) * element_bytes(params.dtype);
  if (params.batch_size == 0 || params.hidden_size == 0) return cudaSuccess;
  if (row_bytes == 0) return cudaErrorInvalidValue;  // an unknown dtype
  if (!are_aligned(sizeof(int64_t), {params.first_rows})) return cudaErrorInvalidValue;
  return dispatch_copy_unit(row_bytes, params.x, params.out, [&](auto unit) {
    using Unit = decltype(unit);
    const GatherFirstTask task = {params,
                                  static_cast<int>(row_bytes / sizeof(typename Unit::Word))};
    return launch_copy(gather_first_kernel<Unit>, params.batch_size, task, stream);
  });
}

}  // namespace bertfast
