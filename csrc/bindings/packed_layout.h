// Checks of what the attention ops share.
#pragma once

#include <cstdint>
#include <optional>

#include "bindings/arguments.h"
#include "bindings/kernel_tensors.h"

namespace bertfast::bindings {

// Shapes and dtypes, wherever the tensors are.
void check_varlen(int64_t num_tokens, const Tensor& cu_seqlens,
                  const std::optional<Tensor>& key_lengths);

// As kernels take it: the largest score has to be the largest before scaling, too.
float check_scale(double scale);

// What cu_seqlens and key_lengths hold, in memory of the host. key_lengths: null if every row is a
// key.
void check_layout(int64_t num_tokens, int64_t num_sequences, int64_t max_seqlen,
                  const int32_t* cu_seqlens, const int32_t* key_lengths);

// The same of a launch whose tensors the host can read: on a device nobody waits to see them.
template <typename Params>
void check_layout_on_host(const KernelTensors& tensors, const Params& params,
                          int64_t max_seqlen = INT64_MAX) {
  if (!tensors.are_on_host()) return;
  check_layout(params.num_tokens, params.num_sequences, max_seqlen, params.cu_seqlens,
               params.key_lengths);
}

}  // namespace bertfast::bindings
