// bertfast._cpu as a Python module: numbers and addresses become the kernels' parameters. What is
// passed is checked in bertfast/cpu_kernels.py and bertfast/cpu_dense.py.
#include <atomic>
#include <stdexcept>
#include <string>
#include <vector>

#include "cpu/bias_gelu.h"
#include "cpu/bind.h"
#include "cpu/build_config.h"
#include "cpu/features.h"
#include "cpu/parallel.h"
#include "cpu/residual_layer_norm.h"
#include "cpu/scratch.h"
#include "cpu/varlen_attention.h"

namespace py = pybind11;

namespace bertfast::cpu {
namespace {

py::dict build_info() {
  py::dict info;
  info["bertfast"] = kBuildConfig.bertfast_version;
  info["compiler"] = kBuildConfig.compiler;
  info["pybind11"] = kBuildConfig.pybind11_version;
  info["sources"] = kBuildConfig.sources;
  return info;
}

py::dict features() {
  py::dict found;
  found["avx512"] = has_avx512();
  found["vnni"] = has_vnni();
  found["bf16"] = has_bf16();
  found["amx_int8"] = has_amx_int8();
  found["amx_bf16"] = has_amx_bf16();
  return found;
}

void limit_isa_by_name(const std::string& newest) {
  if (newest != "avx512" && newest != "amx") {
    throw std::invalid_argument("newest: expected avx512 or amx, got '" + newest + "'");
  }
  limit_isa(newest == "amx" ? Isa::kAmx : Isa::kAvx512);
}

void use_thread_pool_at(Address parallel_for, Address num_threads, Address thread_index) {
  use_thread_pool({reinterpret_cast<TorchParallelFor>(parallel_for),
                   reinterpret_cast<TorchThreadNumber>(num_threads),
                   reinterpret_cast<TorchThreadNumber>(thread_index)});
}

void bind_kernels(py::module_& module) {
  module.def(
      "residual_layer_norm",
      [](Address x, bool x_is_bfloat16, Address residual, Address weight, Address bias, Address out,
         int64_t num_tokens, int64_t hidden_size, float eps) {
        residual_layer_norm({pointer<const void>(x), pointer<const float>(residual),
                             pointer<const float>(weight), pointer<const float>(bias),
                             pointer<float>(out), num_tokens, hidden_size, eps,
                             float_or_bfloat16(x_is_bfloat16)});
      },
      Unlocked());
  module.def(
      "bias_gelu",
      [](Address x, Address bias, Address out, int64_t num_tokens, int64_t inner_size,
         const std::string& activation) {
        bias_gelu({pointer<const float>(x), pointer<const float>(bias), pointer<float>(out),
                   num_tokens, inner_size, activation_named(activation)});
      },
      Unlocked());
  module.def(
      "varlen_attention",
      [](Address qkv, bool is_bfloat16, Address cu_seqlens, Address key_lengths, Address out,
         int64_t num_tokens, int64_t num_sequences, int num_heads, int head_size, float scale) {
        varlen_attention({pointer<const void>(qkv), pointer<const int32_t>(cu_seqlens),
                          pointer<const int32_t>(key_lengths), pointer<void>(out), num_tokens,
                          num_sequences, num_heads, head_size, scale,
                          float_or_bfloat16(is_bfloat16)});
      },
      Unlocked());
}

// How often each index of a range was visited, how many threads did, and what happens to errors.
py::dict probe_parallel_for(int64_t size, int64_t grain, int64_t fails_at) {
  std::vector<std::atomic<int>> visits(size), threads(num_threads());
  {
    const py::gil_scoped_release unlocked;
    parallel_for(0, size, grain, [&](int64_t begin, int64_t end) {
      threads.at(thread_index()) = 1;
      for (int64_t i = begin; i < end; ++i) {
        ++visits[i];
        if (i == fails_at) throw std::out_of_range("index " + std::to_string(i));
      }
    });
  }
  int64_t visited_once = 0, used_threads = 0;
  for (const auto& count : visits) visited_once += count == 1;
  for (const auto& used : threads) used_threads += used;
  py::dict found;
  found["visited_once"] = visited_once;
  found["threads"] = used_threads;
  return found;
}

}  // namespace
}  // namespace bertfast::cpu

PYBIND11_MODULE(_cpu, module) {
  namespace cpu = bertfast::cpu;
  module.def("build_info", &cpu::build_info, "Versions by name.");
  module.def("features", &cpu::features, "Instructions that kernels use, by name.");
  module.def("limit_isa", &cpu::limit_isa_by_name, py::arg("newest"),
             "Keep kernels from instructions beyond 'avx512', or beyond 'amx': from none.");
  module.def("use_thread_pool", &cpu::use_thread_pool_at, py::arg("parallel_for"),
             py::arg("num_threads"), py::arg("thread_index"),
             "The addresses of torch_parallel_for, torch_get_num_threads and "
             "torch_get_thread_idx.");
  module.def("scratch_bytes", &cpu::scratch_bytes,
             "Memory that threads keep for what lies between products.");
  module.def("_probe_parallel_for", &cpu::probe_parallel_for, py::arg("size"), py::arg("grain"),
             py::arg("fails_at") = -1, "Run an empty loop, and count.");
  cpu::bind_kernels(module);
  cpu::bind_dense(module);
}
