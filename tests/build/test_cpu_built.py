"""``bertfast._cpu`` itself: compiled, inspected, packed, loaded."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
import zipfile

import pytest
import torch

import bertfast
from bertfast import cpu_extension
from build.conftest import (
    ROOT,
    build_cpu_extension,
    copy_sources,
    run_python,
    run_setup,
    skip_unless_cpu_kernels_can_be_built,
)
from native_build.cpu.flags import suffix_of

pytestmark = pytest.mark.slow

has_avx512 = pytest.mark.skipif(
    not all(torch.cpu.get_capabilities().get(name) for name in cpu_extension._NEEDED), reason="needs AVX-512"
)
needs_binutils = pytest.mark.skipif(
    shutil.which("nm") is None or shutil.which("readelf") is None, reason="needs nm and readelf"
)


def _output(*command):
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True).stdout


@needs_binutils
def test_what_is_linked(cpu_binary):
    """No torch: one binary loads into any. And nothing but the module's entry is seen from outside."""
    needed = set(re.findall(r"\(NEEDED\).*\[(\w[^\]]*)\]", _output("readelf", "-d", cpu_binary)))
    assert not [name for name in needed if "torch" in name or "omp" in name]
    assert _output("nm", "-D", "--defined-only", cpu_binary).split()[2::3] == ["PyInit__cpu"]


@needs_binutils
def test_no_code_for_newer_cpus_is_shared(cpu_objects):
    """An inline function that two files define is kept once. If it is that of a file for newer instructions, an older
    CPU dies of it: so templates and inline functions of such files belong into an unnamed namespace."""
    for source in sorted((ROOT / "csrc" / "cpu").glob("*.cpp")):
        if suffix_of(source) == "":
            continue
        table = _output("nm", "-C", "--defined-only", cpu_objects / f"{source.name}.o")
        shared = [line.split(None, 2)[2] for line in table.splitlines() if line.split()[1] in "WVu"]
        assert not shared, f"{source.name}: {shared}"


def test_what_is_up_to_date_is_left_alone(cpu_binary):
    done = build_cpu_extension()
    assert "is up to date" in done.stdout
    assert "compiling" not in done.stdout


@has_avx512
def test_loaded(built_cpu):
    done = run_python(
        "import warnings; warnings.simplefilter('error')\n"
        "import sys, bertfast\n"
        "assert 'bertfast._cpu' not in sys.modules\n"
        "from bertfast import cpu_extension as e\n"
        "assert e.available() and e.why_not() is None\n"
        "print(e.features()['avx512'], e.build_info()['bertfast'], sep='\\n')\n"
        "print(e.build_info()['compiler'])\n",
        built_cpu,
    )
    assert done.returncode == 0, done.stderr
    avx512, version, compiler = done.stdout.splitlines()
    assert (avx512, version) == ("True", bertfast.__version__)
    assert compiler == _output("g++", "--version").splitlines()[0]


@has_avx512
@pytest.mark.parametrize(("isa", "allowed"), [("avx512", False), ("amx", True), ("", True)])
def test_isa(built_cpu, isa, allowed):
    code = "from bertfast import cpu_extension\nprint(cpu_extension.features()['amx_bf16'])\n"
    done = run_python(code, built_cpu, BERTFAST_CPU_ISA=isa)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{allowed and torch.cpu.get_capabilities()['amx_bf16']}\n"


@has_avx512
def test_another_version_is_refused(built_cpu):
    (built_cpu / "bertfast" / "_version.py").write_text('__version__ = "9.9.9"\n')
    done = run_python("from bertfast import cpu_extension as e; print(e.why_not()); e.why_not()", built_cpu)
    assert f"is of bertfast {bertfast.__version__}, this is 9.9.9; build it in" in done.stdout
    assert done.stderr.count("RuntimeWarning: bertfast runs without its CPU kernels: ") == 1


def test_a_wheel_from_a_source_distribution(tmp_path):
    skip_unless_cpu_kernels_can_be_built()
    sources = copy_sources(tmp_path / "sources")
    done = run_setup("sdist", "--dist-dir", tmp_path, cwd=sources, BERTFAST_CUDA="0")
    assert done.returncode == 0, done.stdout
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    done = run_setup("bdist_wheel", "--dist-dir", tmp_path, cwd=unpacked, BERTFAST_CUDA="0", BERTFAST_CPU="1")
    assert done.returncode == 0, done.stdout
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.endswith("-linux_x86_64.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert len([name for name in names if name.startswith("bertfast/_cpu.")]) == 1
    assert not [name for name in names if name.endswith((".cpp", ".h")) or name.startswith("native_build")]


@pytest.mark.parametrize("mode", ["auto", "1"])
def test_code_that_does_not_compile(tmp_path, mode):
    """An error where the kernels were asked for; without them elsewhere: pip install always works."""
    skip_unless_cpu_kernels_can_be_built()
    sources = copy_sources(tmp_path / "sources")
    for source in (sources / "csrc" / "cpu").glob("*.cpp"):
        source.write_text("#error broken on purpose\n")
    done = run_setup("bdist_wheel", "--dist-dir", tmp_path / "dist", cwd=sources, BERTFAST_CUDA="0", BERTFAST_CPU=mode)
    assert "broken on purpose" in done.stdout
    assert "bertfast._cpu could not be built" in done.stdout
    assert (done.returncode == 0) == (mode == "auto")
    assert len(list((tmp_path / "dist").glob("*.whl"))) == (mode == "auto")
