"""Captured launches of small batches: which shapes share a graph, and which graphs are kept.

A batch of few rows is bound by its launches, so they are captured once and replayed: for a bucket of shapes, never for
one shape.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from bertfast.backends.backend import CapturedGraph, GraphPool
from bertfast.reporting import logger

_FEWEST_ROWS = 16
# Steps of the sizes that cost little when they are too large: idle blocks.
_SEQUENCES_STEP = 4
_LENGTHS = (64, 128, 256, 512)


@dataclass(frozen=True)
class GraphLimits:
    """What graphs may cost. max_rows: larger batches are bound by their arithmetic and run without one.

    max_graphs: graphs of a model kept at a time. max_bytes: device memory of all of them.
    """

    max_rows: int = 2048
    max_graphs: int = 128
    max_bytes: int = 2**30


class Bucket(NamedTuple):
    """Sizes that are computed in the place of a batch's own, never smaller than these."""

    num_rows: int
    num_sequences: int
    max_seqlen: int

    @classmethod
    def of(cls, num_rows: int, num_sequences: int, max_seqlen: int) -> Bucket:
        """The bucket of a batch. From 48 rows on at most a third of its rows are spare."""
        rows = max(_FEWEST_ROWS, 1 << (num_rows - 1).bit_length())
        if rows >= 64 and num_rows <= rows // 4 * 3:
            rows = rows // 4 * 3
        sequences = 1
        while sequences < num_sequences:
            sequences *= _SEQUENCES_STEP
        longest = next((length for length in _LENGTHS if length >= max_seqlen), 512 * -(-max_seqlen // 512))
        return cls(rows, sequences, longest)

    @classmethod
    def up_to(cls, batch_size: int, max_length: int, max_rows: int) -> Iterator[Bucket]:
        """Every bucket that a batch up to this size can be in, once, the smallest first.

        batch_size: the most sequences; max_length: the longest of them; max_rows: larger batches have no bucket.
        """
        met = set()
        row_sizes = sorted({cls.of(n, 1, 1).num_rows for n in range(1, max_rows + 1)})
        for fewest, most in zip([0, *row_sizes], row_sizes, strict=False):
            for count in range(1, batch_size + 1):
                for longest in range(1, max_length + 1):
                    rows = min(most, count * longest, max_rows)
                    bucket = cls.of(rows, count, longest)
                    if rows > fewest and rows >= longest + count - 1 and bucket not in met:
                        met.add(bucket)
                        yield bucket


class GraphCache:
    """The graphs of one prepared model, the least recently used dropped first. Safe to call from several threads.

    A key is captured when it is met a second time: a capture costs many forwards, and a shape that never comes back
    would not pay for it.
    """

    def __init__(self, pool: GraphPool, limits: GraphLimits) -> None:
        self.pool, self.limits = pool, limits
        self.num_captured = 0
        self._graphs: OrderedDict[Hashable, CapturedGraph] = OrderedDict()
        # Keys without a graph, and whether they may get one.
        self._met: OrderedDict[Hashable, bool] = OrderedDict()
        self._failed = False
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._graphs)

    @property
    def num_bytes(self) -> int:
        """Device memory that the graphs keep."""
        with self._lock:
            return sum(graph.num_bytes for graph in self._graphs.values())

    def run(self, key: Hashable, run: Callable[[], Tensor]) -> Tensor:
        """The result of ``run()``, replayed if it was captured under ``key``.

        ``run`` reads and writes the same memory each time, and the caller holds ``pool.exclusive()`` until it has read
        the result.
        """
        graph = self._find(key, run)
        return run() if graph is None else graph.replay()

    def capture(self, key: Hashable, run: Callable[[], Tensor]) -> bool:
        """Capture ``run()`` now; returns whether a graph was made and kept. The caller holds ``pool.exclusive()``."""
        with self._lock:
            if key in self._graphs or self._failed or not self._met.get(key, True):
                return False
            self._capture(key, run)
            return key in self._graphs

    def _find(self, key: Hashable, run: Callable[[], Tensor]) -> CapturedGraph | None:
        with self._lock:
            if key in self._graphs:
                self._graphs.move_to_end(key)
                return self._graphs[key]
            if not self._failed and self._met.get(key, False):
                return self._capture(key, run)
            if key not in self._met:
                self._note(key, True)
            return None

    def _note(self, key: Hashable, allowed: bool) -> None:
        self._met[key] = allowed
        self._met.move_to_end(key)
        while len(self._met) > 4 * self.limits.max_graphs:
            self._met.popitem(last=False)

    def _capture(self, key: Hashable, run: Callable[[], Tensor]) -> CapturedGraph | None:
        try:
            # A result made in inference mode could not be written to outside of it.
            with torch.inference_mode(False), torch.no_grad():
                graph = self.pool.capture(run)
        except RuntimeError as error:
            # The launches themselves still work. A capture that failed once would fail, and cost, again.
            self._failed = True
            logger.warning("bertfast: CUDA graphs are off for this model, capturing one failed: %s", error)
            return None
        self.num_captured += 1
        if graph.num_bytes > self.limits.max_bytes:
            self._note(key, False)
            return graph
        self._met.pop(key, None)
        self._graphs[key] = graph
        while len(self._graphs) > self.limits.max_graphs or self.num_bytes > self.limits.max_bytes:
            self._graphs.popitem(last=False)
        return graph
