#include "kernels/bias_gelu.h"

#include <torch/csrc/stable/library.h>

#include <string>

#include "bindings/arguments.h"
#include "bindings/kernel_tensors.h"
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
  const Tensor out = torch::stable::new_empty(x, x.sizes());
  KernelTensors tensors;
  params.x = tensors.read("x", x);
  params.bias = tensors.read("bias", bias);
  params.out = tensors.write("out", out);
  launch("bias_gelu", launch_bias_gelu, params, tensors.all());
  return out;
}

}  // namespace
}  // namespace bertfast::bindings

STABLE_TORCH_LIBRARY_IMPL(BERTFAST_LIBRARY, BERTFAST_DISPATCH_KEY, library) {
  library.impl("bias_gelu", TORCH_BOX(&bertfast::bindings::bias_gelu));
}
