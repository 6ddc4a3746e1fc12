"""CUDA graphs: what has few rows is bound by its launches, so a recording of them is replayed.

A recording is made for a bucket of shapes, never for one shape: `Bucket`. How one is made is the recorder's
business (`cuda.py`).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from bertfast.reporting import logger

# Steps of the sizes that cost little when they are too large: idle blocks.
_SEQUENCES_STEP = 4
_LENGTHS = (64, 128, 256, 512)


@dataclass(frozen=True)
class GraphLimits:
    """What recordings may cost. max_rows: larger batches are bound by their arithmetic and run without one.

    max_graphs: recordings kept at a time. max_bytes: device memory of all of them.
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
        """The bucket of a batch: two row sizes in each power of two, so that at most a third of the rows are spare."""
        rows = max(16, 1 << (num_rows - 1).bit_length())
        if rows >= 64 and num_rows <= rows // 4 * 3:
            rows = rows // 4 * 3
        longest = next((length for length in _LENGTHS if length >= max_seqlen), 512 * -(-max_seqlen // 512))
        sequences = 1
        while sequences < num_sequences:
            sequences *= _SEQUENCES_STEP
        return cls(rows, sequences, longest)


def bucket_lengths(batch_size: int, max_length: int, max_rows: int) -> Iterator[list[int]]:
    """Lengths of batches, up to this size, that meet each bucket once, the smallest first.

    batch_size: the most sequences; max_length: the longest of them; max_rows: larger batches have no bucket.
    """
    met = set()
    row_sizes = sorted({Bucket.of(n, 1, 1).num_rows for n in range(1, max_rows + 1)})
    for fewest, most in zip([0, *row_sizes], row_sizes, strict=False):
        for count in range(1, batch_size + 1):
            for longest in range(1, max_length + 1):
                rows = min(most, count * longest, max_rows)
                bucket = Bucket.of(rows, count, longest)
                if rows > fewest and rows >= longest + count - 1 and bucket not in met:
                    met.add(bucket)
                    yield _split(rows, count, longest)


def _split(rows: int, count: int, longest: int) -> list[int]:
    """``count`` lengths of at least 1 whose sum is ``rows``, the first of them ``longest``."""
    lengths = [longest]
    for others in range(count - 2, -1, -1):
        lengths.append(min(longest, rows - sum(lengths) - others))
    return lengths


class Recording(Protocol):
    """Launches that can be repeated."""

    @property
    def num_bytes(self) -> int:
        """Device memory that it keeps."""

    def replay(self) -> Tensor:
        """Run them again, on the current stream; the result lies where the first one did."""


class Recorder(Protocol):
    """Makes recordings that share their memory."""

    def record(self, run: Callable[[], Tensor]) -> Recording: ...

    def exclusive(self) -> AbstractContextManager[None]:
        """Inside, no other thread and no other stream replays: the memory of all recordings is one pool."""


class GraphCache:
    """The recordings of one prepared model, the least recently used dropped first. Safe to call from several threads.

    A bucket is recorded when it is met a second time: a recording costs many forwards, and a shape that never comes
    back would not pay for it.
    """

    def __init__(self, recorder: Recorder, limits: GraphLimits) -> None:
        self.recorder, self.limits = recorder, limits
        self.num_recorded = 0
        self._recordings: OrderedDict[Hashable, Recording] = OrderedDict()
        # Buckets without a recording, and whether they may get one.
        self._met: OrderedDict[Hashable, bool] = OrderedDict()
        self._failed: str | None = None
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._recordings)

    @property
    def num_bytes(self) -> int:
        """Device memory that the recordings keep."""
        with self._lock:
            return sum(recording.num_bytes for recording in self._recordings.values())

    def run(self, key: Hashable, run: Callable[[], Tensor], eager: bool = False, record_now: bool = False) -> Tensor:
        """The result of ``run()``, replayed if it was recorded under ``key``.

        ``run`` reads and writes the same memory each time, and the caller holds ``recorder.exclusive()`` until it has
        read the result. eager: run it as it is. record_now: record it the first time.
        """
        recording = None if eager else self._find(key, run, record_now)
        return run() if recording is None else recording.replay()

    def clear(self) -> None:
        """Drop all recordings."""
        with self._lock:
            self._recordings.clear()
            self._met.clear()

    def _find(self, key: Hashable, run: Callable[[], Tensor], record_now: bool) -> Recording | None:
        with self._lock:
            if key in self._recordings:
                self._recordings.move_to_end(key)
                return self._recordings[key]
            allowed = self._met.get(key, record_now) or record_now
            if self._failed is None and allowed:
                return self._record(key, run)
            if key not in self._met:
                self._note(key, True)
            return None

    def _note(self, key: Hashable, allowed: bool) -> None:
        self._met[key] = allowed
        self._met.move_to_end(key)
        while len(self._met) > 4 * self.limits.max_graphs:
            self._met.popitem(last=False)

    def _record(self, key: Hashable, run: Callable[[], Tensor]) -> Recording | None:
        try:
            # A result made in inference mode could not be written to outside of it.
            with torch.inference_mode(False), torch.no_grad():
                recording = self.recorder.record(run)
        except RuntimeError as error:
            # The launches themselves still work. A recording that failed once would fail, and cost, again.
            self._failed = str(error)
            logger.warning("bertfast: CUDA graphs are off for this model, recording one failed: %s", error)
            return None
        self.num_recorded += 1
        self._met.pop(key, None)
        if recording.num_bytes > self.limits.max_bytes:
            self._note(key, False)
            return recording
        self._recordings[key] = recording
        while len(self._recordings) > self.limits.max_graphs or self.num_bytes > self.limits.max_bytes:
            self._recordings.popitem(last=False)
        return recording
