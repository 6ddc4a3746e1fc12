#pragma once

#include "kernels/pad_input.h"
#include "kernels/row_copy.cuh"

namespace bertfast {

struct PadInputTask {
  PadInputParams params;
  int row_words;
};

template <typename Unit>
__global__ void __launch_bounds__(kCopyThreads) pad_input_kernel(PadInputTask task) {
  const PadInputParams& params = task.params;
  const int64_t row = copy_row_index();
  if (row >= params.num_positions) return;
  const int64_t position = load<1>(params.indices + row)[0];
  if (position < 0 || position >= params.num_positions) return;
  bool is_token = row < params.num_rows;
  if (params.num_tokens != nullptr) is_token = is_token && row < load<1>(params.num_tokens)[0];
  copy_row<Unit>(params.x, is_token ? row : -1, params.out, position, task.row_words);
}

}  // namespace bertfast
