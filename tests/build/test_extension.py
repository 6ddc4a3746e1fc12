"""bertfast/extension.py: with nothing to load, with something that does not load, and what runs on which GPU."""

from __future__ import annotations

import importlib.machinery
import types

import pytest

from bertfast import binary, extension
from bertfast.binary import Loaded
from bertfast.errors import ExtensionError
from build.conftest import run_python

_SUFFIX = importlib.machinery.EXTENSION_SUFFIXES[0]
# A CUDA tensor's way into an op, without a GPU.
_CALL_ON_CUDA = """
import torch, bertfast
from bertfast import extension, ops
cuda = torch._C.DispatchKeySet(torch._C.DispatchKey.CUDA)
def call():
    torch.ops.bertfast.bias_gelu.default.redispatch(cuda, torch.ones(2, 8), torch.ones(8))
"""
_EXPECT_REFUSAL = """
try:
    call()
except bertfast.ExtensionError as error:
    print(error)
ops.bias_gelu(torch.ones(2, 8), torch.ones(8))
"""


def test_without_extension(without_extension):
    done = run_python(
        f"import warnings; warnings.simplefilter('error'){_CALL_ON_CUDA}{_EXPECT_REFUSAL}"
        "assert not extension.available()\n"
        "try:\n    extension.build_info()\nexcept bertfast.ExtensionError as error:\n    print(error)\n",
        without_extension,
    )
    assert done.returncode == 0, done.stderr
    refusal, info = done.stdout.splitlines()
    reason = "bertfast was installed without its CUDA kernels; build it in bertfast's source directory"
    assert refusal.startswith(f"bertfast::bias_gelu: no CUDA kernel: {reason}")
    assert info.startswith(reason)
    assert "BERTFAST_CUDA=1 pip install --no-build-isolation" in info


def test_every_op_refuses_without_extension(without_extension):
    done = run_python(
        "import torch, bertfast.ops\n"
        "for name in bertfast.ops.__all__:\n"
        "    assert torch._C._dispatch_has_kernel_for_dispatch_key(f'bertfast::{name}', 'CUDA'), name\n",
        without_extension,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (f"_C{_SUFFIX}", "does not load with torch"),
        ("_C.cpython-27-x86_64-linux-gnu.so", "is for another version of Python"),
    ],
)
def test_broken_extension(without_extension, name, why):
    """One warning, not an error, until a CUDA tensor comes."""
    (without_extension / "bertfast" / name).write_text("no library")
    done = run_python(f"{_CALL_ON_CUDA}{_EXPECT_REFUSAL}", without_extension)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("RuntimeWarning: bertfast runs without its CUDA kernels: ") == 1
    assert name in done.stderr
    assert why in done.stderr
    assert why in done.stdout


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("_C/__pycache__/empty", "", "_C is not the extension: remove it"),
        ("_C.py", "", "_C.py is not the extension: remove it"),
        ("_C.py", "raise RuntimeError('registered twice')", "does not load with torch"),
    ],
)
def test_something_else_in_its_place(without_extension, name, text, why):
    path = without_extension / "bertfast" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    done = run_python(f"{_CALL_ON_CUDA}{_EXPECT_REFUSAL}", without_extension)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("RuntimeWarning: bertfast runs without its CUDA kernels: ") == 1
    assert why in done.stdout


def test_source_directory_before_an_installed_package(without_extension):
    """Where Python is started in the clone, whatever is installed beside it."""
    (without_extension / "setup.py").touch()
    done = run_python("from bertfast import extension; print(extension.why_not())", without_extension)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"imported from its source directory, {without_extension}, which holds no built CUDA" in done.stdout
    assert "start Python in another directory; or build it" in done.stdout


def test_importing_bertfast_loads_nothing(without_extension):
    (without_extension / "bertfast" / f"_C{_SUFFIX}").write_text("no library")
    done = run_python("import bertfast, sys; assert 'bertfast._C' not in sys.modules", without_extension)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def loaded(monkeypatch):
    """``loaded(sass, ptx)``: as if a binary of these had been loaded."""

    def load(sass, ptx=()):
        info = {"bertfast": "0", "sass": list(sass), "ptx": list(ptx)}
        module = types.SimpleNamespace(build_info=lambda: info)
        monkeypatch.setattr(extension, "_load", lambda: Loaded(module))

    return load


@pytest.mark.parametrize(
    ("sass", "ptx", "capability", "runs"),
    [
        (["sm_80"], [], (8, 0), True),
        (["sm_80"], [], (8, 9), True),
        (["sm_86"], [], (8, 0), False),
        (["sm_80"], [], (9, 0), False),
        ([], ["compute_80"], (9, 0), True),
        ([], ["compute_90"], (8, 9), False),
        (["sm_90a"], ["compute_90a"], (9, 0), True),
        (["sm_90a"], ["compute_90a"], (10, 0), False),
        (["sm_100f"], [], (10, 3), True),
        (["sm_100f"], [], (12, 0), False),
        (["sm_100"], [], (10, 3), True),
        (["sm_75", "sm_120"], ["compute_120"], (12, 1), True),
    ],
)
def test_what_runs_where(loaded, sass, ptx, capability, runs):
    loaded(sass, ptx)
    reason = extension.why_not_on(capability)
    if runs:
        assert reason is None
        return
    major, minor = capability
    assert reason is not None
    assert f"no code for sm_{major}{minor}; it was built for {' '.join(sass + ptx)}. Build it again in" in reason
    assert f"TORCH_CUDA_ARCH_LIST={major}.{minor} BERTFAST_CUDA=1 pip install" in reason


def test_too_old_a_device(loaded):
    loaded(["sm_75"])
    assert extension.why_not_on((7, 0)) == "the kernels need compute capability 7.5 or later, this is 7.0"


def test_without_extension_no_device_will_do(monkeypatch):
    monkeypatch.setattr(extension, "_load", lambda: Loaded(reason="nothing there"))
    assert extension.why_not_on((9, 0)) == extension.why_not() == "nothing there"
    with pytest.raises(ExtensionError, match="nothing there"):
        extension.kernels()


def test_too_old_a_torch(monkeypatch):
    monkeypatch.setattr(binary.PathFinder, "find_spec", lambda name, path: types.SimpleNamespace(origin="_C.so"))
    monkeypatch.setattr(extension.torch, "__version__", "2.10.1+cu128")
    with pytest.warns(RuntimeWarning, match="runs without its CUDA kernels: they need torch"):
        loaded = extension._load.__wrapped__()
    assert loaded == Loaded(None, "they need torch 2.11 or later, this is 2.10.1+cu128", broken=True)
