"""Whether and how the CPU kernels are built: the plan, the flags of each file, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from bertfast import cpu_extension
from build.conftest import ROOT, run_setup, skip_unless_cpu_kernels_can_be_built
from build.test_setup import _program
from native_build import decide, tools
from native_build.cpu import flags, plan
from native_build.tools import CannotBuild, Compiler


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("gemm.cpp", []),
        ("gemm_vnni.cpp", ["vnni"]),
        ("gemm_bf16.cpp", ["bf16"]),
        ("gemm_amx.cpp", ["vnni", "bf16", "tile", "int8"]),
        ("vnni.cpp", ["vnni"]),
        ("layer_norm.cpp", []),
        ("amx_tiles.cpp", []),
    ],
)
def test_flags_by_name(name, more):
    found = flags.instruction_flags(Path(name))
    assert found[: len(flags.BASE)] == flags.BASE
    allowed = " ".join(found[len(flags.BASE) :])
    assert all((word in allowed) == (word in more) for word in ("vnni", "tile", "int8"))
    assert ("avx512bf16" in allowed) == ("bf16" in more)


def test_what_every_file_uses_is_asked_of_the_cpu():
    """flags.py, cpu_extension.py and features.cpp name the same instructions."""
    asked = {"-m" + name.replace("_", "").replace("fma3", "fma") for name in cpu_extension._NEEDED}
    assert asked == set(flags.BASE)


@pytest.mark.parametrize(
    ("system", "machine"), [("darwin", "arm64"), ("linux", "aarch64"), ("win32", "AMD64"), ("linux", "i686")]
)
def test_other_systems(monkeypatch, capsys, system, machine):
    monkeypatch.setattr(plan.sys, "platform", system)
    monkeypatch.setattr(plan.platform, "machine", lambda: machine)
    why = f"its kernels are for 64-bit Linux on x86-64, this is {system} on {machine}"
    assert decide.decide("T", "BERTFAST_CPU", plan.make_cpu_plan, {}) is None
    assert capsys.readouterr().out == f"T: will not be built: {why}\n"
    with pytest.raises(CannotBuild, match=f"^T, cannot be built: {why}$"):
        decide.decide("T", "BERTFAST_CPU", plan.make_cpu_plan, {"BERTFAST_CPU": "1"})


def test_a_compiler_that_is_too_old(tmp_path):
    old = _program(tmp_path / "old-g++", "echo 'unrecognized option -mamx-tile'; exit 1")
    with pytest.raises(CannotBuild, match=r"(?s)^g\+\+ 9 does not compile .* Install g\+\+ 11, .*-mamx-tile"):
        plan._compile_nothing(Compiler((str(old),), "g++ 9"))


def test_no_pybind11(monkeypatch):
    skip_unless_cpu_kernels_can_be_built()
    monkeypatch.setattr(tools, "package_path", lambda name: None)
    with pytest.raises(CannotBuild, match=r"^no pybind11 in "):
        plan.make_cpu_plan("auto", {})


def test_the_plan():
    skip_unless_cpu_kernels_can_be_built()
    made = plan.make_cpu_plan("auto", {"MAX_JOBS": "3"})
    assert made.optional
    assert made.jobs == 3
    assert {path.name for path in made.sources} == {path.name for path in (ROOT / "csrc" / "cpu").glob("*.cpp")}
    depended = {path.name for path in made.dependencies}
    assert {"parallel.h", "dtype.h", "flags.py", "plan.py", "build_ext.py"} <= depended
    assert not plan.make_cpu_plan("1", {}).optional


def test_the_plan_is_printed():
    skip_unless_cpu_kernels_can_be_built()
    done = run_setup("--version", BERTFAST_CUDA="0", MAX_JOBS="3")
    assert done.returncode == 0, done.stdout
    assert "bertfast._cpu, the CPU kernels: will be built\n" in done.stdout
    facts = {line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")}
    assert facts == {"compiler", "pybind11", "sources", "jobs"}


def test_nothing_of_torch_is_included():
    """A wheel is built where there is none."""
    for path in (ROOT / "csrc" / "cpu").iterdir():
        included = [line.split()[1] for line in path.read_text().splitlines() if line.startswith("#include")]
        assert not [name for name in included if name.strip('<"').startswith(("torch/", "ATen/", "c10/"))], path.name
        knows_python = path.name == "module.cpp" or path.name.startswith("bind")
        assert knows_python or not [name for name in included if "pybind11" in name], path.name
