#pragma once

#include "kernels/gather_first.h"
#include "kernels/row_copy.cuh"

namespace bertfast {

struct GatherFirstTask {
  GatherFirstParams params;
  int row_words;
};

template <typename Unit>
__global__ void __launch_bounds__(kCopyThreads) gather_first_kernel(GatherFirstTask task) {
  const GatherFirstParams& params = task.params;
  const int64_t sequence = copy_row_index();
  if (sequence >= params.batch_size) return;
  int64_t row = load<1>(params.first_rows + sequence)[0];
  if (row >= params.num_tokens) row = -1;
  copy_row<Unit>(params.x, row, params.out, sequence, task.row_words);
}

}  // namespace bertfast
