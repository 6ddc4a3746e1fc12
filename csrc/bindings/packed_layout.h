// Checks of offsets and key lengths that lie in memory of the host; on a device nobody waits to see
// them.
#pragma once

#include <cstdint>

#include "bindings/arguments.h"

namespace bertfast::bindings {

// Shapes and dtypes, wherever the tensors are.
void check_varlen(int64_t num_tokens, const Tensor& cu_seqlens,
                  const std::optional<Tensor>& key_lengths);

// key_lengths: null if every row is a key.
void check_layout(int64_t num_tokens, int64_t num_sequences, int64_t max_seqlen,
                  const int32_t* cu_seqlens, const int32_t* key_lengths);

}  // namespace bertfast::bindings
