"""Times that were taken elsewhere, given to pytest-benchmark through its own clock.

It times one test after the other, by the host's clock. Here implementations take turns, so that a machine's drift is
everybody's, and a GPU has clocks of its own. What was measured is therefore replayed: its statistics, its tables, its
files and ``--benchmark-compare`` are as ever.
"""

from __future__ import annotations

from collections.abc import Sequence


class Replay:
    """A clock that goes on by a sample in each call of `step`."""

    def __init__(self) -> None:
        self._samples: list[float] = []
        self._now = 0.0

    def load(self, seconds: Sequence[float]) -> None:
        self._samples, self._now = list(reversed(seconds)), 0.0

    def step(self) -> None:
        self._now += self._samples.pop()

    def read(self) -> float:
        return self._now


REPLAY = Replay()
