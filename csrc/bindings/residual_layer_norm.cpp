#include "kernels/residual_layer_norm.h"

#include <torch/csrc/stable/library.h>

#include <optional>

#include "bindings/arguments.h"
#include "bindings/kernel_tensors.h"
#include "bindings/launch.h"

namespace bertfast::bindings {
namespace {

void check(const Tensor& x, const Tensor& residual, const Tensor& weight, const Tensor& bias,
           const std::optional<Tensor>& x_bias) {
  check_shape("x", x, {"T", "H"});
  check_shape("residual", residual, {x.size(0), x.size(1)});
  check_dtype("residual", residual, {x.scalar_type()});
  const auto check_parameter = [&](const char* name, const Tensor& parameter) {
    check_shape(name, parameter, {x.size(1)});
    check_dtype(name, parameter, {x.scalar_type()});
  };
  check_parameter("weight", weight);
  check_parameter("bias", bias);
  if (x_bias.has_value()) check_parameter("x_bias", *x_bias);
}

Tensor residual_layer_norm(const Tensor& x, const Tensor& residual, const Tensor& weight,
                           const Tensor& bias, double eps, const std::optional<Tensor>& x_bias) {
  check(x, residual, weight, bias, x_bias);
  ResidualLayerNormParams params = {};
  params.dtype = check_element_type("x", x);
  params.num_tokens = x.size(0);
  params.hidden_size = check_extent("x", x, 1, kMaxHiddenSize);
  params.eps = static_cast<float>(eps);
  const Tensor out = torch::stable::new_empty(x, x.sizes());
  KernelTensors tensors;
  params.x = tensors.read("x", x);
  params.x_bias = tensors.read("x_bias", x_bias);
  params.residual = tensors.read("residual", residual);
  params.weight = tensors.read("weight", weight);
  params.bias = tensors.read("bias", bias);
  params.out = tensors.write("out", out);
  launch("residual_layer_norm", launch_residual_layer_norm, params, tensors.all());
  return out;
}

}  // namespace
}  // namespace bertfast::bindings

STABLE_TORCH_LIBRARY_IMPL(BERTFAST_LIBRARY, BERTFAST_DISPATCH_KEY, library) {
  library.impl("residual_layer_norm", TORCH_BOX(&bertfast::bindings::residual_layer_norm));
}
