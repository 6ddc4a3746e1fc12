"""What is told of this machine agrees with what torch and bertfast do on it."""

from __future__ import annotations

import builtins
import json
import os

import pytest
import torch
import transformers
from precisions import REDUCED

from bertfast import cpu_extension, cpu_kernels, extension
from bertfast.backends import CpuBackend, resolve_precision
from bertfast.environment import compiled, cpu, describe, gpus, packages, paths
from bertfast.errors import SettingError
from bertfast.linear import missing
from bertfast.versions import check_versions


def test_it_can_be_written_as_json():
    found = describe.describe()
    assert json.loads(json.dumps(found)) == json.loads(json.dumps(found, default=str))
    assert found["torch_problem"] is None
    assert found["versions"]["torch"] == torch.__version__
    assert found["versions"]["transformers"] == transformers.__version__
    assert found["torch"]["threads"] == torch.get_num_threads()
    assert found["cpu"]["usable"] in (None, len(os.sched_getaffinity(0)))


def test_features_are_those_that_torch_sees():
    names = cpu.cpu_features()
    has = torch.cpu.get_capabilities()
    assert ("avx2" in names) == bool(has.get("avx2"))
    assert ("avx512_bf16" in names) == bool(has.get("avx512_bf16"))


def test_a_system_without_cpuinfo_is_asked_by_torch(monkeypatch, tmp_path):
    with_file = cpu.cpu_features()
    monkeypatch.setattr(cpu, "_CPUINFO", tmp_path / "nothing")
    assert set(cpu.cpu_features()) == set(with_file)
    assert cpu.cpu().physical is None
    assert cpu.cpu_name()


def test_arm_names_its_features_otherwise(monkeypatch, tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\nFeatures\t: fp asimd asimddp i8mm bf16\nCPU part\t: 0xd40\n")
    monkeypatch.setattr(cpu, "_CPUINFO", path)
    assert cpu.cpu_features() == ("asimddp", "bf16", "i8mm")


def test_threads_of_one_core_count_once(monkeypatch, tmp_path):
    path = tmp_path / "cpuinfo"
    blocks = [f"processor\t: {n}\nphysical id\t: 0\ncore id\t: {n % 2}\nflags\t: avx2\n" for n in range(4)]
    path.write_text("\n".join(blocks) + "\n")
    monkeypatch.setattr(cpu, "_CPUINFO", path)
    assert cpu.cpu().physical == 2


@pytest.mark.parametrize("asked", [*REDUCED, "auto"])
def test_precisions_are_what_accelerate_would_give(asked):
    (found,) = (reduced for reduced in paths.reduced_precisions(["cpu"]) if reduced.asked == asked)
    expected = resolve_precision(asked, torch.ones(1))
    assert found.runs == (expected.reduced or "float32")
    assert found.why_not == expected.lacks
    assert found.linear == CpuBackend().linear(torch.float32, expected.reduced).name


def test_paths_tell_who_computes_attention():
    for path, dtype in zip(paths.paths(["cpu"]), (torch.float32, torch.bfloat16, torch.float16), strict=True):
        assert path.attention == ("bertfast" if cpu_kernels.has_attention(dtype) else "PyTorch")


def test_a_cpu_without_the_instructions_says_what_it_lacks(cpu_with):
    cpu_with("avx2")
    found = {reduced.asked: reduced for reduced in paths.reduced_precisions(["cpu"])}
    assert found["int8"].runs == found["auto"].runs == "float32"
    assert found["int8"].why_not == missing("int8")
    assert found["auto"].why_not is None


def test_a_bad_value_of_a_variable_is_why_nothing_runs(monkeypatch):
    monkeypatch.setenv("BERTFAST_CPU_LINEAR", "nosuch")
    found = paths.paths(["cpu"])[0]
    assert not found.fast
    assert "BERTFAST_CPU_LINEAR='nosuch'" in found.why_not


def test_the_reason_of_the_extension_is_told_without_its_folders(monkeypatch):
    monkeypatch.setattr(extension, "why_not", lambda: "/opt/jane/bertfast/_C.so is of bertfast 0.0.1, this is 0.1.0")
    (found,) = (module for module in compiled.compiled_modules() if module.module == "bertfast._C")
    assert not found.loaded
    assert found.reason == ".../_C.so is of bertfast 0.0.1, this is 0.1.0"


def test_an_extension_tells_what_it_was_built_for(monkeypatch):
    monkeypatch.setattr(extension, "why_not", lambda: None)
    monkeypatch.setattr(extension, "build_info", lambda: {"nvcc": "13.0", "sass": ["sm_90"]})
    (found,) = (module for module in compiled.compiled_modules() if module.module == "bertfast._C")
    assert found.loaded
    assert found.build == {"nvcc": "13.0", "sass": ["sm_90"]}


def test_the_cpu_kernels_tell_what_they_use(monkeypatch):
    monkeypatch.setattr(cpu_extension, "why_not", lambda: None)
    monkeypatch.setattr(cpu_extension, "build_info", lambda: {"compiler": "gcc"})
    monkeypatch.setattr(cpu_extension, "features", lambda: {"avx512": True, "amx_int8": False})
    (found,) = (module for module in compiled.compiled_modules() if module.module == "bertfast._cpu")
    assert found.loaded
    assert found.uses == ("avx512",)


def test_a_bad_variable_of_the_cpu_kernels_is_a_reason(monkeypatch):
    def refuse():
        raise SettingError("BERTFAST_CPU_ISA='sse': expected amx or avx512")

    monkeypatch.setattr(cpu_extension, "why_not", refuse)
    (found,) = (module for module in compiled.compiled_modules() if module.module == "bertfast._cpu")
    assert found.reason == "BERTFAST_CPU_ISA='sse': expected amx or avx512"


def test_without_torch_all_else_is_told(monkeypatch):
    real = describe.importlib.import_module

    def refuse(name, *arguments):
        if name == "torch":
            raise OSError("/opt/jane/libtorch.so: cannot open shared object file")
        return real(name, *arguments)

    monkeypatch.setattr(describe.importlib, "import_module", refuse)
    found = describe.describe()
    assert found["torch_problem"] == (
        "torch cannot be imported: OSError: .../libtorch.so: cannot open shared object file"
    )
    assert found["versions"]["bertfast"]
    assert "paths" not in found


def test_versions_that_are_not_served_are_told(monkeypatch):
    old = {"torch": "2.1.0", "transformers": "5.20.2"}
    monkeypatch.setattr(describe, "check_versions", lambda: check_versions(old.__getitem__))
    assert ["2.1.0" in told for told in describe._unsupported()] == [True]


def test_gpus_are_told_as_torch_counts_them(monkeypatch):
    class Properties:
        name, major, minor, multi_processor_count = "Some GPU", 9, 0, 132
        total_memory, L2_cache_size = 80 << 30, 50 << 20

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: Properties())
    assert gpus.gpus() == (gpus.Gpu("Some GPU", "9.0", 132, 80 << 30, 50 << 20),) * 2


def test_nvidia_smi_may_be_missing_or_fail(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus.driver_version() is None
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 580.65.06\n")
    program.chmod(0o755)
    assert gpus.driver_version() == "580.65.06"
    program.write_text("#!/bin/sh\necho no devices were found\nexit 6\n")
    assert gpus.driver_version() is None


def test_packages_that_are_not_installed(monkeypatch):
    assert packages.installed("nosuch-package") is None
    monkeypatch.setattr(packages, "OPTIONAL", ("nosuch-package", "numpy"))
    assert list(packages.optional_versions()) == ["numpy"]


def test_the_short_form_needs_no_transformers(monkeypatch):
    real = builtins.__import__

    def refuse(name, *arguments, **named):
        assert name.split(".")[0] != "transformers"
        return real(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", refuse)
    found = describe.summary()
    assert {"torch", "transformers", "cpu", "cpu_features"} <= found.keys()
