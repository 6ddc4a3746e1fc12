"""The kernels of bertfast._cpu, as they are built in place; skipped where they are not, or the CPU has no AVX-512."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from bertfast import cpu_dense, cpu_extension

_ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session", autouse=True)
def native() -> ModuleType:
    """The module. A binary that is older than its sources is an error: something else would be tested."""
    reason = cpu_extension.why_not()
    if reason is not None:
        pytest.skip(reason)
    module = cpu_extension.module()
    assert module.__file__ is not None
    built = Path(module.__file__).stat().st_mtime
    newer = [path.name for path in (_ROOT / "csrc" / "cpu").iterdir() if path.stat().st_mtime > built]
    assert not newer, f"{', '.join(newer)} changed since the build: python setup.py build_ext --inplace"
    return module


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """As many as torch is told to use."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture(params=["amx", "avx512"])
def isa(request: pytest.FixtureRequest, native: ModuleType) -> Iterator[str]:
    """The newest instructions that kernels use."""
    has_amx = native.features()["amx_int8"] and native.features()["amx_bf16"]
    if request.param == "amx" and not has_amx:
        pytest.skip("needs AMX")
    native.limit_isa(request.param)
    yield request.param
    native.limit_isa("amx" if has_amx else "avx512")


@pytest.fixture(params=["bfloat16", "int8"])
def reduced(request: pytest.FixtureRequest) -> str:
    """In what dense layers multiply, for what does not depend on instructions."""
    if not cpu_dense.serves(request.param):
        pytest.skip(f"this CPU has no instruction for {request.param}")
    return str(request.param)


@pytest.fixture(params=["bfloat16", "int8"])
def operands(request: pytest.FixtureRequest, isa: str) -> str:
    """In what dense layers multiply, by each of the instructions."""
    if not cpu_dense.serves(request.param):
        pytest.skip(f"this CPU has no instruction for {request.param}")
    return str(request.param)
