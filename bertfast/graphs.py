"""Captured launches of small batches: which shapes share a graph, and which graphs are kept.

A batch of few rows is bound by its launches, so they are captured once and replayed: for a bucket of shapes, never for
one shape.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from bertfast.backends import CapturedGraph, CaptureError, GraphPool
from bertfast.faults import is_out_of_memory
from bertfast.reporting import logger

_FEWEST_ROWS = 16
# A capture may fail once because of what other threads do meanwhile.
_MOST_FAILURES = 3
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
    def up_to(cls, batch_size: int, max_length: int, max_rows: int) -> list[Bucket]:
        """Every bucket that a batch up to this size can be in, the smallest first.

        batch_size: the most sequences; max_length: the longest of them; max_rows: larger batches have no bucket.
        """
        counts = _ranges(min(batch_size, max_rows), lambda n: cls.of(1, n, 1).num_sequences)
        lengths = _ranges(min(max_length, max_rows), lambda n: cls.of(1, 1, n).max_seqlen)
        sizes = _ranges(max_rows, lambda n: cls.of(n, 1, 1).num_rows)
        return [
            cls(rows, sequences, longest)
            for rows, (fewest, most) in sizes.items()
            for sequences, (count, largest_count) in counts.items()
            for longest, (length, largest_length) in lengths.items()
            # From sequences of one row, but for the longest, to sequences that are all as long.
            if length + count - 1 <= most and fewest <= largest_count * largest_length
        ]


def _ranges(largest: int, size_of: Callable[[int], int]) -> dict[int, tuple[int, int]]:
    """The numbers from 1 to ``largest`` by what ``size_of`` makes of them: the first and the last of each."""
    ranges: dict[int, tuple[int, int]] = {}
    for n in range(1, largest + 1):
        first, _ = ranges.setdefault(size_of(n), (n, n))
        ranges[size_of(n)] = first, n
    return ranges


class GraphCache:
    """The graphs of one prepared model, the least recently used dropped first. Safe to call from several threads.

    A key is captured when it is met a second time: a capture costs many forwards, and a shape that never comes back
    would not pay for it.
    """

    def __init__(self, pool: GraphPool, limits: GraphLimits) -> None:
        self.pool, self.limits = pool, limits
        self.num_captured = 0
        self._failures = 0
        self._graphs: OrderedDict[Hashable, CapturedGraph] = OrderedDict()
        # Keys without a graph, and whether they may get one.
        self._met: OrderedDict[Hashable, bool] = OrderedDict()
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._graphs)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._graphs

    @property
    def num_bytes(self) -> int:
        """Device memory that the graphs keep."""
        return self.pool.num_bytes()

    @property
    def _gave_up(self) -> bool:
        return self._failures >= _MOST_FAILURES

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
            if key in self._graphs or self._gave_up or not self._met.get(key, True):
                return False
            self._capture(key, run)
            return key in self._graphs

    def drop_all(self) -> None:
        """Give the graphs up, and their memory. The caller holds ``pool.exclusive()``."""
        with self._lock:
            self._graphs.clear()
            self.pool.reset()

    def _find(self, key: Hashable, run: Callable[[], Tensor]) -> CapturedGraph | None:
        with self._lock:
            if key in self._graphs:
                self._graphs.move_to_end(key)
                return self._graphs[key]
            if not self._gave_up and self._met.get(key, False):
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
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                # By themselves the launches need less.
                self.drop_all()
            elif not isinstance(error, CaptureError):
                raise
            self._failures += 1
            level = "are off for this model" if self._gave_up else "could not be captured"
            logger.warning("bertfast: CUDA graphs %s: %s", level, error)
            return None
        self.num_captured += 1
        if self.num_bytes > self.limits.max_bytes:
            # Memory of dropped graphs goes back only with the pool.
            self._note(key, bool(self._graphs))
            self.drop_all()
            return graph
        self._met.pop(key, None)
        self._graphs[key] = graph
        if len(self._graphs) > self.limits.max_graphs:
            self._graphs.popitem(last=False)
        return graph
