#include "kernels/residual_layer_norm.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include "bindings/arguments.h"
#include "bindings/launch.h"

namespace bertfast::bindings {
namespace {

Tensor residual_layer_norm(const Tensor& x, const Tensor& residual, const Tensor& weight,
                           const Tensor& bias, double eps) {
  check_shape("x", x, {"T", "H"});
  check_shape("residual", residual, {x.size(0), x.size(1)});
  check_shape("weight", weight, {x.size(1)});
  check_shape("bias", bias, {x.size(1)});
  check_dtype("residual", residual, {x.scalar_type()});
  check_dtype("weight", weight, {x.scalar_type()});
  check_dtype("bias", bias, {x.scalar_type()});

  ResidualLayerNormParams params = {};
  params.dtype = check_element_type("x", x);
  params.num_tokens = x.size(0);
  params.hidden_size = check_extent("x", x, 1, kMaxHiddenSize);
  params.eps = static_cast<float>(eps);
  const Tensor packed_x = torch::stable::contiguous(x);
  const Tensor packed_residual = torch::stable::contiguous(residual);
  const Tensor packed_weight = torch::stable::contiguous(weight);
  const Tensor packed_bias = torch::stable::contiguous(bias);
  const Tensor out = torch::stable::new_empty(x, x.sizes());
  params.x = packed_x.const_data_ptr();
  params.residual = packed_residual.const_data_ptr();
  params.weight = packed_weight.const_data_ptr();
  params.bias = packed_bias.const_data_ptr();
  params.out = out.mutable_data_ptr();
  launch("residual_layer_norm", launch_residual_layer_norm, params,
         {{"x", packed_x},
          {"residual", packed_residual},
          {"weight", packed_weight},
          {"bias", packed_bias},
          {"out", out}});
  return out;
}

}  // namespace
}  // namespace bertfast::bindings

STABLE_TORCH_LIBRARY_IMPL(BERTFAST_LIBRARY, BERTFAST_DISPATCH_KEY, library) {
  library.impl("residual_layer_norm", TORCH_BOX(&bertfast::bindings::residual_layer_norm));
}
