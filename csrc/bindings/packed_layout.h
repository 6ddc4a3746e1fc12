// Checks of what the attention ops share.
#pragma once

#include <cstdint>
#include <optional>

#include "bindings/arguments.h"

namespace bertfast::bindings {

// Shapes and dtypes, wherever the tensors are.
void check_varlen(int64_t num_tokens, const Tensor& cu_seqlens,
                  const std::optional<Tensor>& key_lengths);

// As kernels take it: the largest score has to be the largest before scaling, too.
float check_scale(double scale);

// What cu_seqlens and key_lengths hold, in memory of the host: on a device nobody waits to see it.
// key_lengths: null if every row is a key.
void check_layout(int64_t num_tokens, int64_t num_sequences, int64_t max_seqlen,
                  const int32_t* cu_seqlens, const int32_t* key_lengths);

}  // namespace bertfast::bindings
