"""Reduced precisions, on CPUs that are fast in them and on others."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from torch import Tensor

from bertfast import cpu_dense, cpu_extension
from bertfast.linear import PortableLinear, missing
from bertfast.precision import onednn_lacks

#: Who multiplies in them: oneDNN through torch, or bertfast._cpu.
MULTIPLIERS = ("onednn", "native")

# Of each reduced precision, an instruction set that bertfast takes for fast.
REDUCED = {"bfloat16": "avx512_bf16", "int8": "avx512_vnni"}


def needs(precision: str) -> None:
    """Skip a test, and say why, where this CPU is not fast in ``precision``.

    Without the instructions oneDNN takes minutes for what takes seconds, and int8 may saturate.
    """
    reason = missing(precision)
    if reason is not None:
        pytest.skip(f"{precision}: {reason}")


def multiply_by(multiplier: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let weights that are prepared from now on be multiplied by one of `MULTIPLIERS`; skips where it is not there."""
    if multiplier == "native":
        if not all(map(cpu_dense.serves, REDUCED)):
            pytest.skip(f"needs bertfast._cpu and a CPU with AVX512-BF16 and VNNI: {cpu_extension.why_not()}")
        return
    for reason in filter(None, map(onednn_lacks, filter(cpu_dense.serves, REDUCED))):
        pytest.skip(reason)
    monkeypatch.setattr(cpu_dense, "serves", lambda precision: False)


class CopyingLinear(PortableLinear):
    """Stands in for any reduced precision: it multiplies with copies, as they all do, and rounds nothing."""

    def __init__(self, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> None:
        copies = [tensor.clone() for tensor in (*weights, *biases)]
        super().__init__(copies[: len(weights)], copies[len(weights) :])
        self.num_bytes = sum(tensor.nbytes for tensor in copies)
