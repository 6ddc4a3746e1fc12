"""bertfast/cpu_extension.py: with nothing to load, with something that does not load, and where it must not be."""

from __future__ import annotations

import importlib.machinery
import shutil
import types
import warnings

import pytest
import torch

from bertfast import binary, cpu_extension, cpu_sources
from bertfast.binary import Loaded
from bertfast.errors import ExtensionError
from build.conftest import ROOT, run_python

_SUFFIX = importlib.machinery.EXTENSION_SUFFIXES[0]
_ASK = "from bertfast import cpu_extension as e\nprint(e.available(), e.why_not())\n"
_CAPABLE = dict.fromkeys(cpu_extension._NEEDED, True)


@pytest.fixture
def load(monkeypatch):
    """Loads, as if for the first time, on a CPU that has AVX-512."""
    for name in ("BERTFAST_CPU_KERNELS", "BERTFAST_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: _CAPABLE)
    return cpu_extension._load.__wrapped__


@pytest.fixture
def fake(monkeypatch):
    """A module in the place of the binary, which notes what is done to it."""
    done = []
    module = types.SimpleNamespace(
        build_info=lambda: {"bertfast": binary.__version__, "sources": cpu_sources.fingerprint(ROOT / "csrc")},
        use_thread_pool=lambda *addresses: done.append(addresses),
        limit_isa=lambda newest: done.append(newest),
        features=lambda: {"avx512": True},
        done=done,
    )
    monkeypatch.setattr(binary.PathFinder, "find_spec", lambda name, path: types.SimpleNamespace(origin="_cpu.so"))
    monkeypatch.setattr(binary.importlib, "import_module", lambda name: module)
    return module


def test_prepared(load, fake):
    assert load() == Loaded(fake)
    addresses, newest = fake.done
    assert len(set(addresses)) == 3
    assert all(addresses)
    assert newest == "amx"


def test_isa(load, fake, monkeypatch):
    monkeypatch.setenv("BERTFAST_CPU_ISA", "avx512")
    load()
    assert fake.done[-1] == "avx512"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("BERTFAST_CPU_KERNELS", "off", "1 or 0"),
        ("BERTFAST_CPU_KERNELS", "auto", "1 or 0"),
        ("BERTFAST_CPU_ISA", "avx2", "amx or avx512"),
        ("BERTFAST_CPU_ISA", "AMX", "amx or avx512"),
    ],
)
def test_wrong_variables(load, monkeypatch, name, value, expected):
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=f"^{name}='{value}': expected {expected}$"):
        load()


@pytest.mark.parametrize("value", ["", "1"])
def test_not_switched_off(load, fake, monkeypatch, value):
    monkeypatch.setenv("BERTFAST_CPU_KERNELS", value)
    assert load().module is fake


def _must_not_load(monkeypatch):
    monkeypatch.setattr(binary.importlib, "import_module", lambda name: pytest.fail("loaded"))
    warnings.simplefilter("error")


def test_switched_off(load, fake, monkeypatch):
    monkeypatch.setenv("BERTFAST_CPU_KERNELS", "0")
    with warnings.catch_warnings():
        _must_not_load(monkeypatch)
        assert load() == Loaded(reason="BERTFAST_CPU_KERNELS=0")


@pytest.mark.parametrize("lacks", [["avx512_bw"], ["avx512_f", "fma3"], list(_CAPABLE)])
def test_another_cpu(load, fake, monkeypatch, lacks):
    """No line of the binary may run there: all of it is compiled for AVX-512."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {k: v for k, v in _CAPABLE.items() if k not in lacks})
    with warnings.catch_warnings():
        _must_not_load(monkeypatch)
        names = ", ".join(name for name in _CAPABLE if name in lacks)
        assert load() == Loaded(reason=f"they need AVX-512, and this CPU lacks {names}")


def test_a_torch_without_the_thread_pool(load, fake, monkeypatch):
    monkeypatch.setattr(cpu_extension.ctypes, "CDLL", lambda path: types.SimpleNamespace(torch_get_num_threads=0))
    with pytest.warns(RuntimeWarning, match="runs without its CPU kernels"):
        loaded = load()
    missing = "torch_parallel_for, torch_get_thread_idx: install torch 2.11 or later"
    assert loaded == Loaded(None, f"_cpu.so cannot be used: torch {torch.__version__} has no {missing}", broken=True)


def test_a_system_that_keeps_avx512_back(load, fake):
    fake.features = lambda: {"avx512": False}
    with pytest.warns(RuntimeWarning, match="_cpu.so cannot be used: they need AVX-512, which this system keeps"):
        assert load().broken


@pytest.mark.parametrize("info", [{}, {"sources": "0123456789abcdef"}], ids=["none", "others"])
def test_a_binary_of_other_sources(load, fake, info):
    """Of the same version, but older or newer than the package: what Python calls may not be there."""
    fake.build_info = lambda: {"bertfast": binary.__version__, **info}
    with pytest.warns(RuntimeWarning, match="runs without its CPU kernels"):
        loaded = load()
    assert loaded.broken
    assert "_cpu.so cannot be used: it was not built from the sources in " in loaded.reason
    assert "python setup.py build_ext --inplace" in loaded.reason
    assert fake.done == []


def test_an_installed_package_has_no_sources_to_compare(load, fake, monkeypatch, tmp_path):
    monkeypatch.setattr(cpu_extension, "_CSRC", tmp_path)
    fake.build_info = lambda: {"bertfast": binary.__version__, "sources": "0123456789abcdef"}
    assert load().module is fake


@pytest.mark.parametrize("name", ["cpu/module.cpp", "cpu/dense.h", "kernels/dtype.h"])
def test_each_source_counts(tmp_path, name):
    shutil.copytree(ROOT / "csrc", tmp_path / "csrc")
    before = cpu_sources.fingerprint(tmp_path / "csrc")
    assert before == cpu_sources.fingerprint(ROOT / "csrc")
    with (tmp_path / "csrc" / name).open("a") as file:
        file.write("// changed\n")
    assert cpu_sources.fingerprint(tmp_path / "csrc") != before


def test_without_extension(monkeypatch):
    monkeypatch.setattr(cpu_extension, "_load", lambda: Loaded(reason="nothing there"))
    assert not cpu_extension.available()
    assert cpu_extension.why_not() == "nothing there"
    for ask in (cpu_extension.module, cpu_extension.features, cpu_extension.build_info):
        with pytest.raises(ExtensionError, match=r"^nothing there$"):
            ask()


# What follows is asked of a real package; a CPU without AVX-512 answers all of it in one way.
needs_avx512 = pytest.mark.skipif(
    not all(torch.cpu.get_capabilities().get(name) for name in cpu_extension._NEEDED), reason="needs AVX-512"
)


@needs_avx512
def test_an_installed_package_without_it(without_extension):
    done = run_python(f"import warnings; warnings.simplefilter('error')\n{_ASK}", without_extension)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("False bertfast was installed without its CPU kernels; build it in bertfast's source")
    assert "BERTFAST_CPU=1 pip install --no-deps --force-reinstall ." in done.stdout


@needs_avx512
def test_source_directory(without_extension):
    (without_extension / "setup.py").touch()
    done = run_python(_ASK, without_extension)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"imported from its source directory, {without_extension}, which holds no built CPU kernels" in done.stdout


@needs_avx512
@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        (f"_cpu{_SUFFIX}", "no library", "does not load with torch"),
        ("_cpu.cpython-27-x86_64-linux-gnu.so", "", "is for another version of Python"),
        ("_cpu.py", "", "_cpu.py is not the extension: remove it"),
        ("_cpu.py", "raise RuntimeError('no')", "does not load with torch"),
    ],
)
def test_broken(without_extension, name, text, why):
    """One warning, no error, and models run on PyTorch."""
    (without_extension / "bertfast" / name).write_text(text)
    done = run_python(f"{_ASK}{_ASK}import bertfast.ops", without_extension)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("RuntimeWarning: bertfast runs without its CPU kernels: ") == 1
    assert why in done.stdout
