#include "kernels/gather_first.h"

#include <torch/csrc/stable/library.h>

#include <string>

#include "bindings/arguments.h"
#include "bindings/kernel_tensors.h"
#include "bindings/launch.h"

namespace bertfast::bindings {
namespace {

// In memory of the host only.
void check_rows(const int64_t* first_rows, int64_t count, int64_t num_rows) {
  for (int64_t i = 0; i < count; ++i) {
    if (first_rows[i] >= 0 && first_rows[i] < num_rows) continue;
    fail("first_rows", "rows below " + std::to_string(num_rows), std::to_string(first_rows[i]));
  }
}

Tensor gather_first(const Tensor& x, const Tensor& first_rows) {
  check_shape("x", x, {"T", "H"});
  check_shape("first_rows", first_rows, {"B"});
  check_dtype("first_rows", first_rows, {ScalarType::Long});

  GatherFirstParams params = {};
  params.dtype = check_element_type("x", x);
  params.num_tokens = x.size(0);
  params.batch_size = first_rows.size(0);
  params.hidden_size = check_extent("x", x, 1);
  const Tensor out = torch::stable::new_empty(x, {params.batch_size, params.hidden_size});
  KernelTensors tensors;
  params.x = tensors.read("x", x);
  params.first_rows = tensors.read<int64_t>("first_rows", first_rows);
  params.out = tensors.write("out", out);
  if (tensors.are_on_host()) check_rows(params.first_rows, params.batch_size, params.num_tokens);
  launch("gather_first", launch_gather_first, params, tensors.all());
  return out;
}

}  // namespace
}  // namespace bertfast::bindings

STABLE_TORCH_LIBRARY_IMPL(BERTFAST_LIBRARY, BERTFAST_DISPATCH_KEY, library) {
  library.impl("gather_first", TORCH_BOX(&bertfast::bindings::gather_first));
}
