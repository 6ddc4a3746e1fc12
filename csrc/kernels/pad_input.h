// Lays packed rows back into the padded batch, zeros elsewhere.
#pragma once

#include <driver_types.h>  // cudaError_t, cudaStream_t: CUDA's own, or the emulation's stand-in

#include <cstdint>

#include "kernels/dtype.h"

namespace bertfast {

// Row i of x goes to position indices[i], and a position whose index has no row gets zeros. The
// indices of unpad_input name every position once, so every one is written. With others some stay
// as they are, and what is no position is passed over: nothing outside of out is written.
struct PadInputParams {
  const void* x;              // [R, H]
  const int64_t* indices;     // [P]
  const int32_t* num_tokens;  // how many rows of x are laid back, in device memory, such as
                              // cu_seqlens + B; null: all of them
  void* out;                  // [P, H]; may not overlap x
  int64_t num_rows;           // R, which may differ from P
  int64_t num_positions;      // P
  int hidden_size;            // H
  DType dtype;                // of x and out
};

cudaError_t launch_pad_input(const PadInputParams& params, cudaStream_t stream);

}  // namespace bertfast
