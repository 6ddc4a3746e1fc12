// Lays packed rows back into the padded batch, zeros elsewhere.
#pragma once

#include <driver_types.h>  // cudaError_t, cudaStream_t: CUDA's own, or the emulation's stand-in

#include <cstdint>

#include "kernels/dtype.h"

namespace bertfast {

// Row i of x goes to position indices[i]. With all B * S indices of unpad_input every position is
// written exactly once; with those of the T tokens alone, the others stay as they are.
struct PadInputParams {
  const void* x;              // [T, H]
  const int64_t* indices;     // [num_indices]
  const int32_t* num_tokens;  // T in device memory, such as cu_seqlens + B: the positions of
                              // indices from there on get zeros. Null if it is num_indices.
  void* out;                  // [B * S, H]; may not overlap x
  int64_t num_indices;
  int hidden_size;  // H
  DType dtype;      // of x and out
};

cudaError_t launch_pad_input(const PadInputParams& params, cudaStream_t stream);

}  // namespace bertfast
