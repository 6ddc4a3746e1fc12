"""Weights that a backend keeps a copy of: this is where a stale copy is noticed."""

from __future__ import annotations

from operator import itemgetter

import numpy as np
import torch
from torch import Tensor


class CopyWatch:
    """Tells whether parameters that a backend has copied have changed since.

    A parameter's version counts what torch can see. ``p.data.mul_()`` and writes through numpy leave it as it is,
    so a few values of each copied weight are compared as well: an edit of a whole weight is seen, one of a single
    element through ``p.data`` may not be. Backends that do not copy have nothing to watch.
    """

    _PROBES = 16

    def __init__(self, parameters: list[Tensor]) -> None:
        self._parameters = parameters
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
        return [
            *(None if p.is_inference() else p._version for p in self._parameters),
            *(pick(memory) for pick, memory in self._probes),
        ]


def _probe(parameter: Tensor, count: int) -> tuple[itemgetter[tuple[int, ...]], memoryview]:
    """A cheap reader of ``count`` values spread over the parameter, as raw bits (NaN equals itself)."""
    integers = {2: torch.int16, 4: torch.int32, 8: torch.int64}[parameter.element_size()]
    values = parameter.detach().view(integers).numpy()
    # An odd step visits every column sooner or later, a power of two would stay in a few.
    step = max(1, values.size // count) | 1
    spread = [i * step % values.size for i in range(count)]
    places = [tuple(int(i) for i in np.unravel_index(place, values.shape)) for place in spread]
    return itemgetter(*places), values.data
