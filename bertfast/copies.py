"""Weights that a backend keeps a copy of: this is where a stale copy is noticed."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor


class CopyWatch:
    """Tells whether parameters that a backend has copied have changed since.

    A parameter's version counts what torch can see. ``p.data.mul_()`` and writes through numpy leave it as it is,
    so a few values of each copied weight are compared as well: an edit of a whole weight is seen, one of a single
    element through ``p.data`` may not be. Backends that do not copy have nothing to watch.
    """

    _PROBES = 4

    def __init__(self, parameters: list[Tensor]) -> None:
        self._parameters = parameters
        # Inference tensors have no version, and may only be changed in inference mode.
        self._versioned = [p for p in parameters if not p.is_inference()]
        self._probes = [_probe(p, self._PROBES) for p in parameters]
        self._seen = self._read()

    @property
    def num_bytes(self) -> int:
        """Memory of the copies."""
        return sum(p.numel() * p.element_size() for p in self._parameters)

    def changed(self) -> bool:
        """Whether any watched parameter differs from what it was at construction."""
        return self._read() != self._seen

    def _read(self) -> list[object]:
        # Lists, not generators: this runs on every call.
        return [[p._version for p in self._versioned], [pick(memory) for pick, memory in self._probes]]


def _probe(parameter: Tensor, count: int) -> tuple[Callable[[memoryview], Any], memoryview]:
    """A cheap reader of ``count`` values spread over the parameter, as raw bits (NaN equals itself)."""
    integers = {2: torch.int16, 4: torch.int32, 8: torch.int64}[parameter.element_size()]
    values = parameter.detach().view(integers)
    if not values.is_contiguous():
        values = values.t()
    # `view` refuses to copy: a copy would never change.
    memory = values.view(-1).numpy().data
    # An odd step visits every column sooner or later, a power of two would stay in a few.
    step = max(1, len(memory) // count) | 1
    return itemgetter(*(i * step % len(memory) for i in range(count))), memory
