#include "kernels/bias_gelu.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <string>

#include "bindings/arguments.h"
#include "bindings/launch.h"

namespace bertfast::bindings {
namespace {

Activation check_activation(const std::string& activation) {
  if (activation == "erf") return Activation::kErf;
  if (activation == "tanh") return Activation::kTanh;
  if (activation == "relu") return Activation::kRelu;
  fail("activation", "one of erf, tanh, relu", "'" + activation + "'");
}

Tensor bias_gelu(const Tensor& x, const Tensor& bias, const std::string& activation) {
  check_shape("x", x, {"T", "I"});
  check_shape("bias", bias, {x.size(1)});
  check_dtype("bias", bias, {x.scalar_type()});

  BiasGeluParams params = {};
  params.activation = check_activation(activation);
  params.dtype = check_element_type("x", x);
  params.num_tokens = x.size(0);
  params.inner_size = check_extent("x", x, 1);
  const Tensor packed_x = torch::stable::contiguous(x);
  const Tensor packed_bias = torch::stable::contiguous(bias);
  const Tensor out = torch::stable::new_empty(x, x.sizes());
  params.x = packed_x.const_data_ptr();
  params.bias = packed_bias.const_data_ptr();
  params.out = out.mutable_data_ptr();
  launch("bias_gelu", launch_bias_gelu, params,
         {{"x", packed_x}, {"bias", packed_bias}, {"out", out}});
  return out;
}

}  // namespace
}  // namespace bertfast::bindings

STABLE_TORCH_LIBRARY_IMPL(BERTFAST_LIBRARY, BERTFAST_DISPATCH_KEY, library) {
  library.impl("bias_gelu", TORCH_BOX(&bertfast::bindings::bias_gelu));
}
