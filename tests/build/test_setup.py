"""setup.py as pip runs it: what it says where the extension cannot be built, and what it builds then."""

from __future__ import annotations

import os
import shutil
import sys
import zipfile
from pathlib import Path

import pytest

from build.conftest import build_extension, copy_sources, run_setup
from native_build import decide, tools
from native_build.cpu import plan as cpu_plan
from native_build.cuda import plan, toolchain
from native_build.tools import CannotBuild


@pytest.fixture
def no_usual_toolkit(monkeypatch, tmp_path):
    monkeypatch.setattr(toolchain, "_USUAL_HOME", str(tmp_path / "nowhere"))


def _program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_no_nvcc(no_usual_toolkit):
    with pytest.raises(CannotBuild, match=r"^no nvcc on the PATH or in .*nowhere/bin: install .* CUDA_HOME .* PATH$"):
        toolchain.find_nvcc({"PATH": ""})


@pytest.mark.parametrize("variable", ["CUDA_HOME", "CUDA_PATH"])
def test_no_nvcc_in_the_toolkit_named(tmp_path, variable):
    """What is named is meant, whatever the PATH has."""
    with pytest.raises(CannotBuild, match=rf"^no nvcc in {tmp_path}/bin: "):
        toolchain.find_nvcc({"PATH": os.environ["PATH"], variable: str(tmp_path)})


def test_an_old_nvcc(tmp_path):
    nvcc = _program(tmp_path / "bin" / "nvcc", "echo 'Cuda compilation tools, release 11.7, V11.7.99'")
    with pytest.raises(CannotBuild, match=rf"^nvcc 11.7.99 \({nvcc}\) is too old: install CUDA 11.8 or later"):
        toolchain.find_nvcc({"CUDA_HOME": str(tmp_path)})


def test_something_else_called_nvcc(tmp_path):
    _program(tmp_path / "bin" / "nvcc", "echo hello")
    with pytest.raises(CannotBuild, match="names no version"):
        toolchain.find_nvcc({"CUDA_HOME": str(tmp_path)})


def test_a_broken_nvcc(tmp_path):
    _program(tmp_path / "bin" / "nvcc", "echo no license >&2; exit 3")
    with pytest.raises(CannotBuild, match=r"nvcc --version exited with 3:\nno license$"):
        toolchain.find_nvcc({"CUDA_HOME": str(tmp_path)})


def test_no_package(monkeypatch):
    for module in (toolchain, tools):
        monkeypatch.setattr(module, "package_path", lambda name: None)
    hint = "install with --no-build-isolation"
    with pytest.raises(CannotBuild, match=rf"^no torch in {sys.prefix}: {hint}"):
        toolchain.find_torch()
    with pytest.raises(CannotBuild, match=rf"^no pybind11 in {sys.prefix}: pip install pybind11, and {hint}"):
        tools.find_pybind11("pybind11", "torch")


def _torch(path: Path, version: str, cuda: str | None) -> Path:
    path.mkdir()
    (path / "version.py").write_text(f"__version__ = {version!r}\ncuda = {cuda!r}\n")
    return path


def test_an_old_torch(monkeypatch, tmp_path):
    path = _torch(tmp_path / "torch", "2.10.0+cpu", None)
    monkeypatch.setattr(toolchain, "package_path", lambda name: path)
    with pytest.raises(CannotBuild, match=r"^torch 2.10.0\+cpu is too old for its stable ABI: install torch 2.11"):
        toolchain.find_torch()


def test_headers_of_torch_have_pybind11():
    found = tools.find_pybind11("torch")
    assert (found.include / "pybind11" / "pybind11.h").exists()
    assert int(found.version.split(".")[0]) >= 2


def test_nvcc_refuses_the_host_compiler(monkeypatch, tmp_path):
    path = _program(tmp_path / "nvcc", "echo '#error -- unsupported GNU version!' >&2; exit 1")
    nvcc = toolchain.Nvcc(path, "12.0.1", tmp_path, ("80",))
    with pytest.raises(CannotBuild, match=r"(?s)^nvcc 12.0.1 cannot compile with g\+\+-99 .* CXX=.*unsupported GNU"):
        toolchain._compile_nothing(nvcc, ("g++-99",))


@pytest.mark.parametrize(
    ("variables", "why"),
    [
        ({"CXX": "no-such-compiler"}, "no-such-compiler cannot be run: "),
        ({}, r"none of g\+\+, c\+\+, clang\+\+ is on the PATH"),
    ],
)
def test_no_compiler(monkeypatch, tmp_path, variables, why):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotBuild, match=rf"^no C\+\+ compiler: {why}.* Install g\+\+, or name another by CXX$"):
        tools.find_compiler(variables)


def test_nvcc_without_a_host_compiler(monkeypatch, tmp_path):
    """It tells nothing of itself then, and what it says instead names no compiler of C++."""
    _program(tmp_path / "cuda" / "bin" / "nvcc", "echo 'Failed to preprocess host compiler properties.'; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotBuild, match=r"^no C\+\+ compiler: none of g\+\+, "):
        toolchain.find_toolchain({"CUDA_HOME": str(tmp_path / "cuda")})


def test_nvcc_is_asked_with_the_host_compiler_that_was_chosen(tmp_path):
    script = 'case "$*" in *"-ccbin clang++"*) echo "#$ TOP=/opt/cuda";; *) echo "release 13.0, V13.0.1";; esac'
    _program(tmp_path / "bin" / "nvcc", script)
    found = toolchain.find_nvcc({"CUDA_HOME": str(tmp_path)}, tools.Compiler(("clang++", "-m64"), "clang version 18"))
    assert found.home == Path("/opt/cuda")


def test_whatever_compiler_there_is(monkeypatch, tmp_path):
    _program(tmp_path / "clang++", "echo clang version 18")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert tools.find_compiler({}) == tools.Compiler(("clang++",), "clang version 18")


def test_no_headers_of_python(monkeypatch, tmp_path):
    monkeypatch.setattr(tools.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    with pytest.raises(CannotBuild, match=r"^no Python.h: install the headers"):
        tools.find_python_headers()


@pytest.mark.parametrize(("cuda", "useful"), [("13.0", True), (None, False)])
def test_auto_wants_a_torch_that_could_use_it(monkeypatch, tmp_path, capsys, cuda, useful):
    path = _torch(tmp_path / "torch", "2.13.0", cuda)
    monkeypatch.setattr(toolchain, "package_path", lambda name: path)

    def none(environment):
        raise CannotBuild("no nvcc anywhere")

    monkeypatch.setattr(plan, "find_toolchain", none)
    assert decide.decide("bertfast._C", "BERTFAST_CUDA", plan.make_cuda_plan, {}) is None
    why = "no nvcc anywhere" if useful else "no CUDA build of torch here that could use it. "
    assert capsys.readouterr().out.startswith(f"bertfast._C: will not be built: {why}")


def test_off(capsys, monkeypatch):
    monkeypatch.setattr(plan, "find_toolchain", lambda environment: pytest.fail("looked for tools"))
    monkeypatch.setattr(cpu_plan, "find_compiler", lambda environment: pytest.fail("looked for tools"))
    assert decide.make_plans({"BERTFAST_CUDA": "0", "BERTFAST_CPU": "0"}) == []
    assert capsys.readouterr().out.splitlines() == [
        "bertfast._C, the CUDA kernels: will not be built: BERTFAST_CUDA=0",
        "bertfast._cpu, the CPU kernels: will not be built: BERTFAST_CPU=0",
    ]


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"BERTFAST_CUDA": "yes"}, "BERTFAST_CUDA='yes': expected auto, 0 or 1"),
        ({"BERTFAST_CUDA": "0", "MAX_JOBS": "many"}, "MAX_JOBS='many': expected a whole number above 0"),
        ({"BERTFAST_CPU": "on"}, "BERTFAST_CPU='on': expected auto, 0 or 1"),
        (
            {"BERTFAST_CUDA": "1", "CUDA_HOME": "/nowhere"},
            "bertfast._C, the CUDA kernels, cannot be built: no nvcc in /nowhere/bin: install the CUDA toolkit",
        ),
        (
            {"BERTFAST_CPU": "1", "CXX": "no-such-compiler"},
            "bertfast._cpu, the CPU kernels, cannot be built: no C++ compiler: no-such-compiler cannot be run",
        ),
    ],
)
def test_setup_refuses(variables, words):
    done = run_setup("--version", **variables)
    assert done.returncode == 1
    assert f"error: {words}" in done.stdout
    assert "Traceback" not in done.stdout


def test_an_old_setuptools(tmp_path):
    (tmp_path / "setuptools.py").write_text("__version__ = '65.5.0'\n")
    done = run_setup("--version", PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "error: setuptools 65.5.0 is too old: pip install 'setuptools>=77'\n")


@pytest.mark.skipif(shutil.which("nvcc") is None or shutil.which("g++") is None, reason="needs nvcc and g++")
def test_the_plan_is_printed():
    done = run_setup("--version", BERTFAST_CUDA="1", BERTFAST_CPU="0", TORCH_CUDA_ARCH_LIST="8.0+PTX", MAX_JOBS="3")
    assert done.returncode == 0, done.stdout
    lines = [line.split(None, 1) for line in done.stdout.splitlines() if line.startswith("  ")]
    facts = {words[0]: words[1] for words in lines}
    assert facts["architectures"] == "sm_80 compute_80"
    assert facts["jobs"] == "3"
    assert {"nvcc", "host", "torch", "pybind11", "sources"} <= facts.keys()


@pytest.mark.slow
def test_a_wheel_without_compilers_is_pure(tmp_path):
    sources = copy_sources(tmp_path / "sources")
    missing = {"CUDA_HOME": "/nowhere", "CXX": "no-such-compiler"}
    done = run_setup("bdist_wheel", "--dist-dir", tmp_path / "dist", cwd=sources, **missing)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("will not be built") == 2
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "bertfast/extension.py" in names
    assert not [name for name in names if name.endswith((".so", ".cu", ".cpp")) or name.startswith("native_build")]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nvcc") is None or shutil.which("g++") is None, reason="needs nvcc and g++")
@pytest.mark.parametrize("mode", ["auto", "1"])
def test_code_that_does_not_compile(tmp_path, mode):
    """An error where the extension was asked for; without it elsewhere: pip install always works."""
    sources = copy_sources(tmp_path / "sources")
    for kernel in (sources / "csrc" / "kernels").glob("*.cu"):
        kernel.write_text("#error broken on purpose\n")
    if mode == "auto":
        torch = sources / "native_build" / "cuda" / "plan.py"
        torch.write_text(torch.read_text().replace("not has_cuda_build_of_torch()", "False"))
    done = run_setup("bdist_wheel", "--dist-dir", tmp_path / "dist", cwd=sources, BERTFAST_CUDA=mode, BERTFAST_CPU="0")
    assert "broken on purpose" in done.stdout
    assert "bertfast._C could not be built" in done.stdout
    assert (done.returncode == 0) == (mode == "auto")
    assert len(list((tmp_path / "dist").glob("*.whl"))) == (mode == "auto")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")
def test_what_is_up_to_date_is_left_alone(built):
    done = build_extension()
    assert "is up to date" in done.stdout
    assert "compiling" not in done.stdout
