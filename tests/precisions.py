"""Reduced precisions, on CPUs that are fast in them and on others."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from torch import Tensor

from bertfast.linear import PortableLinear
from bertfast.precision import missing

# Of each reduced precision, an instruction set that bertfast takes for fast.
REDUCED = {"bfloat16": "avx512_bf16", "int8": "avx512_vnni"}


def needs(precision: str) -> None:
    """Skip a test, and say why, where this CPU is not fast in ``precision``.

    Without the instructions oneDNN takes minutes for what takes seconds, and int8 may saturate.
    """
    reason = missing(precision)
    if reason is not None:
        pytest.skip(f"{precision}: {reason}")


class CopyingLinear(PortableLinear):
    """Stands in for any reduced precision: it multiplies with copies, as they all do, and rounds nothing."""

    def __init__(self, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> None:
        copies = [tensor.clone() for tensor in (*weights, *biases)]
        super().__init__(copies[: len(weights)], copies[len(weights) :])
        self.num_bytes = sum(tensor.nbytes for tensor in copies)
