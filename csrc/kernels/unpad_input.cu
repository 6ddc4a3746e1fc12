#include "kernels/dispatch.cuh"
#include "kernels/intrinsics_launch.cuh"
#include "kernels/scan_lengths.cuh"
#include "kernels/unpad_input.cuh"

namespace bertfast {
namespace {

cudaError_t launch_scan(const UnpadInputParams& params, cudaStream_t stream) {
  return launch_kernel(scan_lengths_kernel, {dim3(1), kScanThreads, kScanSmemBytes}, params,
                       stream);
}

template <typename Mask, typename Id>
cudaError_t launch_all(const UnpadTask& task, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(task.params.batch_size));
  const LaunchShape count_shape = {grid, kUnpadThreads, kUnpadWarps * sizeof(RowSummary)};
  cudaError_t status = launch_kernel(count_positions_kernel<Mask, Id>, count_shape, task, stream);
  if (status != cudaSuccess) return status;
  status = launch_scan(task.params, stream);
  if (status != cudaSuccess) return status;
  const LaunchShape place_shape = {grid, kUnpadThreads, 2 * kUnpadSlots * sizeof(RowCounts)};
  return launch_kernel(place_positions_kernel<Mask, Id>, place_shape, task, stream);
}

template <typename Mask>
cudaError_t launch_mask(const UnpadTask& task, cudaStream_t stream) {
  switch (task.params.id_dtype) {
    case IdDType::kInt32:
      return launch_all<Mask, int32_t>(task, stream);
    case IdDType::kInt64:
      return launch_all<Mask, int64_t>(task, stream);
  }
  return cudaErrorInvalidValue;
}

bool is_known(MaskReading reading) {
  return reading == MaskReading::kNonzero || reading == MaskReading::kOne;
}

bool is_known(DType dtype) {
  return dtype == DType::kFloat32 || dtype == DType::kFloat16 || dtype == DType::kBFloat16;
}

bool is_aligned(const UnpadInputParams& params) {
  const size_t id_bytes = params.id_dtype == IdDType::kInt32 ? sizeof(int32_t) : sizeof(int64_t);
  return are_aligned(mask_bytes(params.mask_dtype), {params.attention_mask}) &&
         are_aligned(id_bytes, {params.input_ids, params.token_type_ids, params.position_ids}) &&
         are_aligned(sizeof(int32_t), {params.cu_seqlens, params.key_lengths}) &&
         are_aligned(sizeof(int64_t), {params.indices, params.first_rows, params.counts});
}

}  // namespace

cudaError_t launch_unpad_input(const UnpadInputParams& params, cudaStream_t stream) {
  const int bytes = mask_bytes(params.mask_dtype);
  if (bytes == 0 || !is_known(params.mask_reading) || !is_known(params.model_dtype)) {
    return cudaErrorInvalidValue;
  }
  if (!is_aligned(params)) return cudaErrorInvalidValue;
  if (params.batch_size == 0) return launch_scan(params, stream);  // offsets and counts of nothing
  // Column 0 is always computed, so there has to be one. Offsets are 32-bit.
  const int64_t num_positions = static_cast<int64_t>(params.batch_size) * params.padded_len;
  if (params.batch_size < 0 || params.padded_len <= 0 || num_positions > kMaxGridX) {
    return cudaErrorInvalidValue;
  }
  const UnpadTask task = {params,
                          mask_test(params.mask_dtype, params.mask_reading, params.model_dtype)};
  if (bytes == 1) return launch_mask<uint8_t>(task, stream);
  if (bytes == 2) return launch_mask<uint16_t>(task, stream);
  if (bytes == 4) return launch_mask<uint32_t>(task, stream);
  return launch_mask<uint64_t>(task, stream);
}

}  // namespace bertfast
