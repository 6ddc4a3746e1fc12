"""Time: how much there is in all, and who gets how much of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Deadline:
    """So many seconds from now."""

    seconds: float
    _start: float = field(default_factory=time.monotonic)

    def left(self) -> float:
        """Seconds, below 0 when it has passed."""
        return self.seconds - (time.monotonic() - self._start)

    def passed(self) -> bool:
        return self.left() <= 0


def allot(left_s: float, shares: Sequence[float]) -> float:
    """The limit of the first of these stages. What a stage does not use falls to all after it.

    left_s: what is left for them all; shares: of the first and of those after it.
    """
    return max(0.0, left_s) * shares[0] / sum(shares)
