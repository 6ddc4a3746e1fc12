// The rows that stood in column 0, one per sequence: what poolers read.
#pragma once

#include <driver_types.h>  // cudaError_t, cudaStream_t: CUDA's own, or the emulation's stand-in

#include <cstdint>

#include "kernels/dtype.h"

namespace bertfast {

// A row that x does not have gives zeros.
struct GatherFirstParams {
  const void* x;              // [T, H]
  const int64_t* first_rows;  // [B], of unpad_input
  void* out;                  // [B, H]; may not overlap x
  int64_t num_tokens;         // T
  int64_t batch_size;         // B
  int hidden_size;            // H
  DType dtype;                // of x and out
};

cudaError_t launch_gather_first(const GatherFirstParams& params, cudaStream_t stream);

}  // namespace bertfast
