#include "kernels/pad_input.h"

#include <torch/csrc/stable/library.h>

#include <optional>
#include <string>
#include <vector>

#include "bindings/arguments.h"
#include "bindings/kernel_tensors.h"
#include "bindings/launch.h"

namespace bertfast::bindings {
namespace {

void check(const Tensor& x, const Tensor& indices, const std::optional<Tensor>& num_tokens) {
  check_shape("x", x, {"R", "H"});
  check_shape("indices", indices, {"P"});
  check_dtype("indices", indices, {ScalarType::Long});
  if (num_tokens.has_value()) {
    check_shape("num_tokens", *num_tokens, {1});
    check_dtype("num_tokens", *num_tokens, {ScalarType::Int});
  } else if (x.size(0) > indices.size(0)) {
    fail("x", "at most " + std::to_string(indices.size(0)) + " rows, one for each of indices",
         std::to_string(x.size(0)));
  }
}

// Every position once. In memory of the host only.
void check_indices(const int64_t* indices, int64_t num_positions) {
  std::vector<bool> is_seen(num_positions);
  for (int64_t i = 0; i < num_positions; ++i) {
    if (indices[i] >= 0 && indices[i] < num_positions) is_seen[indices[i]] = true;
  }
  for (int64_t i = 0; i < num_positions; ++i) {
    if (is_seen[i]) continue;
    fail("indices", "every position below " + std::to_string(num_positions) + " once",
         "none that is " + std::to_string(i));
  }
}

Tensor pad_input(const Tensor& x, const Tensor& indices, const std::optional<Tensor>& num_tokens) {
  check(x, indices, num_tokens);
  PadInputParams params = {};
  params.dtype = check_element_type("x", x);
  params.num_rows = x.size(0);
  params.num_positions = indices.size(0);
  params.hidden_size = check_extent("x", x, 1);
  const Tensor out = torch::stable::new_empty(x, {params.num_positions, params.hidden_size});
  KernelTensors tensors;
  params.x = tensors.read("x", x);
  params.indices = tensors.read<int64_t>("indices", indices);
  params.num_tokens = tensors.read<int32_t>("num_tokens", num_tokens);
  params.out = tensors.write("out", out);
  if (tensors.are_on_host()) check_indices(params.indices, params.num_positions);
  launch("pad_input", launch_pad_input, params, tensors.all());
  return out;
}

}  // namespace
}  // namespace bertfast::bindings

STABLE_TORCH_LIBRARY_IMPL(BERTFAST_LIBRARY, BERTFAST_DISPATCH_KEY, library) {
  library.impl("pad_input", TORCH_BOX(&bertfast::bindings::pad_input));
}
