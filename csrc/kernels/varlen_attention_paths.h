// The ways to compute an attention, of which launch_varlen_attention takes one.
#pragma once

#include "kernels/varlen_attention.h"

namespace bertfast {

// Any dtype, head size and alignment, in float32 without tensor cores.
cudaError_t launch_varlen_attention_exact(const VarlenAttentionParams& params, cudaStream_t stream);

// What can_use_tensor_cores says.
bool can_use_tensor_cores(const VarlenAttentionParams& params);
cudaError_t launch_varlen_attention_tensor(const VarlenAttentionParams& params,
                                           cudaStream_t stream);

}  // namespace bertfast
