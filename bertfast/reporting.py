"""What happened: counts of calls by path and reason, the last call of a model, one log line per new reason."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from dataclasses import dataclass, fields

logger = logging.getLogger("bertfast")

FAST = "fast"
STOCK = "stock"

#: Calls since the process started: ``"fast"``, ``"stock"``, and ``"stock: <reason>"`` for each reason.
STATS: Counter[str] = Counter()
# A signal handler may call a model in the middle of a call.
_lock = threading.RLock()


@dataclass(frozen=True)
class Call:
    """One forward pass of an encoder. real_tokens: None where they were not counted, to not wait for a GPU."""

    path: str
    reason: str | None = None
    real_tokens: int | None = 0
    computed_tokens: int = 0
    padded_tokens: int = 0
    first_token_only: bool = False


@dataclass(frozen=True)
class Report:
    """What `bertfast.explain` tells of one encoder; ``str()`` is for people.

    path, reason: of the last call, or of the call that was asked about. Token counts are of that call too; real_tokens
    is None where nobody has waited for a GPU to count them. cuda_graphs, cuda_graph_bytes: those that are kept.
    """

    encoder: str
    path: str
    reason: str | None
    real_tokens: int | None
    computed_tokens: int
    padded_tokens: int
    first_token_only: bool
    pad_outputs: str
    dtype: str | None
    linear_backend: str | None
    fast_calls: int
    stock_calls: int
    cuda_graphs: int = 0
    cuda_graph_bytes: int = 0

    def __str__(self) -> str:
        lines = [f"bertfast {self.encoder}: {self.path}" + (f" ({self.reason})" if self.reason else "")]
        if self.padded_tokens:
            real = "an uncounted number of" if self.real_tokens is None else self.real_tokens
            share = 100 * self.computed_tokens / self.padded_tokens
            lines.append(
                f"  tokens: {real} real, {self.computed_tokens} computed of {self.padded_tokens} padded "
                f"({share:.0f} %)" + ("; last layer: first token only" if self.first_token_only else "")
            )
        if self.linear_backend:
            lines.append(f"  weights: {self.dtype}, read in place, linear layers by {self.linear_backend}")
        if self.cuda_graphs:
            lines.append(f"  CUDA graphs: {self.cuda_graphs}, {self.cuda_graph_bytes / 2**20:.1f} MiB")
        lines.append(f"  pad_outputs={self.pad_outputs}; calls: {self.fast_calls} fast, {self.stock_calls} stock")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, object]:
        """All fields, for JSON."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def count(call: Call, counts: Counter[str]) -> bool:
    """Add a call to the process's and to one model's counts; returns whether its reason is new to the model."""
    keys = [call.path] if call.reason is None else [call.path, f"{call.path}: {call.reason}"]
    with _lock:
        new = counts[keys[-1]] == 0
        for key in keys:
            STATS[key] += 1
            counts[key] += 1
    return new


def stats() -> dict[str, int]:
    """A copy of the counts of all calls in this process, by path and by reason."""
    with _lock:
        return dict(STATS)
