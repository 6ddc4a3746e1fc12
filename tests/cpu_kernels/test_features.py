"""csrc/cpu/features.h against what torch, which asks another library, says of this CPU."""

from __future__ import annotations

import pytest
import torch

from bertfast import cpu_extension

_NAMES = {"vnni": "avx512_vnni", "bf16": "avx512_bf16", "amx_int8": "amx_int8", "amx_bf16": "amx_bf16"}


@pytest.fixture
def limit(native):
    newest = "amx" if any(cpu_extension.features()[name] for name in ("amx_int8", "amx_bf16")) else "avx512"
    yield native.limit_isa
    native.limit_isa(newest)


def test_features(limit):
    limit("amx")
    known = torch.cpu.get_capabilities()
    assert cpu_extension.features() == {"avx512": True, **{name: known[theirs] for name, theirs in _NAMES.items()}}


def test_limit(limit):
    limit("amx")
    all_of_them = cpu_extension.features()
    limit("avx512")
    assert cpu_extension.features() == {**all_of_them, "amx_int8": False, "amx_bf16": False}
    limit("amx")
    assert cpu_extension.features() == all_of_them


@pytest.mark.parametrize("name", ["", "AMX", "avx2", "auto"])
def test_unknown_limit(native, name):
    with pytest.raises(ValueError, match=f"^newest: expected avx512 or amx, got '{name}'$"):
        native.limit_isa(name)
