#include <string>

#include "cpu/bind.h"
#include "cpu/dense.h"

namespace py = pybind11;

namespace bertfast::cpu {
namespace {

Operand operand_named(const std::string& name) {
  if (name == "bfloat16") return Operand::kBFloat16;
  if (name == "int8") return Operand::kInt8;
  throw py::value_error("operand: expected bfloat16 or int8, got '" + name + "'");
}

void pack(const DenseWeight& dense, Address weight) {
  auto* panels = const_cast<uint8_t*>(dense.panels);
  if (dense.operand == Operand::kBFloat16) {
    return pack_weight_bfloat16({pointer<const float>(weight), panels, dense.columns, dense.k});
  }
  pack_weight_int8({pointer<const float>(weight), panels, const_cast<float*>(dense.scales),
                    const_cast<float*>(dense.sums), dense.columns, dense.k});
}

// What a layer's tail is made of, but for the norms: their weights are the model's own.
struct Tail {
  DenseWeight attention_output, intermediate, output;
  Activation activation;
};

// out = gelu(x) as layer_tail computes it, of `count` floats: it rounds them.
void probe_gelu(const std::string& activation, Address x, Address out, int64_t count) {
  const Gelu<kRoughDegree> gelu(activation_named(activation));
  for (int64_t i = 0; i < count; i += kWidth) {
    const Mask mask = first(count - i);
    store(pointer<float>(out) + i, gelu(load(pointer<const float>(x) + i, mask)), mask);
  }
}

NormWeight norm(Address weight, Address bias, float eps) {
  return {pointer<const float>(weight), pointer<const float>(bias), eps};
}

}  // namespace

void bind_dense(py::module_& module) {
  module.def("_probe_gelu", &probe_gelu);
  module.def("packed_weight_bytes", [](const std::string& operand, int64_t columns, int64_t k) {
    return packed_weight_bytes(operand_named(operand), columns, k);
  });
  py::class_<DenseWeight>(module, "DenseWeight")
      .def(py::init([](const std::string& operand, Address panels, Address bias, Address scales,
                       Address sums, int64_t columns, int64_t k) {
        return DenseWeight{operand_named(operand),
                           pointer<const uint8_t>(panels),
                           pointer<const float>(bias),
                           pointer<const float>(scales),
                           pointer<const float>(sums),
                           columns,
                           k};
      }))
      .def("pack", &pack, Unlocked())
      .def(
          "multiply",
          [](const DenseWeight& weight, Address x, bool x_is_bfloat16, Address out,
             bool out_is_bfloat16, int64_t num_tokens) {
            dense({&weight, pointer<const void>(x), pointer<void>(out), num_tokens,
                   float_or_bfloat16(x_is_bfloat16), float_or_bfloat16(out_is_bfloat16)});
          },
          Unlocked());
  py::class_<Tail>(module, "LayerTail")
      .def(py::init([](const DenseWeight& attention_output, const DenseWeight& intermediate,
                       const DenseWeight& output, const std::string& activation) {
        return Tail{attention_output, intermediate, output, activation_named(activation)};
      }))
      .def(
          "run",
          [](const Tail& tail, Address context, bool context_is_bfloat16, Address x,
             Address attention_norm_weight, Address attention_norm_bias, float attention_norm_eps,
             Address output_norm_weight, Address output_norm_bias, float output_norm_eps,
             Address out, int64_t num_tokens) {
            layer_tail({&tail.attention_output,
                        norm(attention_norm_weight, attention_norm_bias, attention_norm_eps),
                        &tail.intermediate, tail.activation, &tail.output,
                        norm(output_norm_weight, output_norm_bias, output_norm_eps),
                        pointer<const void>(context), pointer<const float>(x), pointer<float>(out),
                        num_tokens, float_or_bfloat16(context_is_bfloat16)});
          },
          Unlocked());
}

}  // namespace bertfast::cpu
