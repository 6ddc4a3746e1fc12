"""What happened: counts of calls by path and reason, the last call of a model, one log line per new reason.

All lines go to the logger ``bertfast``. WARNING: what the user may want to change (stock transformers runs, padding is
computed, graphs cannot be captured). INFO: what is expected (training runs stock, versions newer than any tested).
"""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields

logger = logging.getLogger("bertfast")

FAST = "fast"
STOCK = "stock"
#: The call raises, because stock would have to run and may not (``on_fallback="raise"``, or its weights were given up),
#: or because its device has failed.
REFUSED = "refused"

#: So many reasons are told apart, of a model and of the process; some name what a user may change at each call.
MOST_REASONS = 1000
OTHER_REASONS = "other reasons"

#: Calls since the process started: ``"fast"``, ``"stock"``, ``"refused"``, and ``"stock: <reason>"`` for each reason.
STATS: Counter[str] = Counter()
# A signal handler may call a model in the middle of a call.
_lock = threading.RLock()


def _renew_lock() -> None:
    """In a forked child, where a thread that held it is no more."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


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
    is None where nobody has waited for a GPU to count them. name: of the encoder in the model, empty for the model
    itself. dtype: of weights and activations; matmul_precision: in what float32 weights are multiplied. ops: who
    computed each step of a fast call. What is kept: cuda_graphs, their bytes, and buffer_bytes of what they read;
    weight_copy_bytes of a reduced precision: without one, weights are read in place. advice: who would multiply faster
    here, and is not there. others: of the model's other encoders, each for its own last call. fault: why the device
    computes nothing more in this process, None as long as no call of a model there has met that.
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
    buffer_bytes: int = 0
    name: str = ""
    matmul_precision: str | None = None
    weight_copy_bytes: int = 0
    ops: Mapping[str, str] = field(default_factory=dict)
    advice: str | None = None
    others: tuple[Report, ...] = ()
    fault: str | None = None

    @property
    def healthy(self) -> bool:
        """Whether calls may still be computed: False once the device has failed. Then the process has to be ended."""
        return self.fault is None and all(other.healthy for other in self.others)

    def __str__(self) -> str:
        name = f"{self.encoder} {self.name!r}" if self.name else self.encoder
        lines = [f"bertfast {name}: {self.path}" + (f" ({self.reason})" if self.reason else "")]
        if self.padded_tokens:
            real = "an uncounted number of" if self.real_tokens is None else self.real_tokens
            share = 100 * self.computed_tokens / self.padded_tokens
            lines.append(
                f"  tokens: {real} real, {self.computed_tokens} computed of {self.padded_tokens} padded "
                f"({share:.0f} %)" + ("; last layer: first token only" if self.first_token_only else "")
            )
        lines += [f"  {line}" for line in self._how()]
        if self.cuda_graphs or self.buffer_bytes:
            graphs, buffers = (size / 2**20 for size in (self.cuda_graph_bytes, self.buffer_bytes))
            lines.append(f"  kept: {self.cuda_graphs} CUDA graphs of {graphs:.1f} MiB, buffers of {buffers:.1f} MiB")
        if self.fault is not None:
            lines.append(f"  unhealthy: {self.fault}")
        lines.append(f"  pad_outputs={self.pad_outputs}; calls: {self.fast_calls} fast, {self.stock_calls} stock")
        return "\n".join([*lines, *map(str, self.others)])

    def how(self) -> list[str]:
        """Lines on what holds for any call, the other encoders' too: weights, ops and advice."""
        return [*self._how(), *(line for other in self.others for line in other.how())]

    def _how(self) -> Iterator[str]:
        if self.dtype:
            reduced = self.matmul_precision not in (None, "float32")
            products = f" (matrix products in {self.matmul_precision})" if reduced else ""
            copies = (
                f"copies of {self.weight_copy_bytes / 2**20:.1f} MiB" if self.weight_copy_bytes else "read in place"
            )
            yield f"weights: {self.dtype}{products}, {copies}"
        if self.ops:
            steps = ", ".join(f"{step} by {who}" for step, who in self.ops.items())
            yield f"ops: {steps}" + (" (as a call has many tokens or few)" if " or " in steps else "")
        if self.advice:
            yield f"advice: {self.advice}"

    def as_dict(self) -> dict[str, object]:
        """All fields and `healthy`, for JSON."""
        found = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {
            **found,
            "healthy": self.healthy,
            "ops": dict(self.ops),
            "others": [other.as_dict() for other in self.others],
        }


class Said:
    """The reasons that a model's log has: of more than MOST_REASONS those that came last, whatever is counted."""

    def __init__(self) -> None:
        self._reasons: OrderedDict[str, None] = OrderedDict()

    def is_new(self, reason: str) -> bool:
        """Whether it has to be said; from now on it was."""
        with _lock:
            new = reason not in self._reasons
            self._reasons[reason] = None
            self._reasons.move_to_end(reason)
            if len(self._reasons) > MOST_REASONS:
                self._reasons.popitem(last=False)
        return new


def count(call: Call, counts: Counter[str]) -> None:
    """Add a call to the process's and to one model's counts."""
    with _lock:
        for one in (STATS, counts):
            _count(call, one)


def _count(call: Call, counts: Counter[str]) -> None:
    counts[call.path] += 1
    if call.reason is None:
        return
    key = f"{call.path}: {call.reason}"
    if key not in counts and len(counts) >= MOST_REASONS:
        key = f"{call.path}: {OTHER_REASONS}"
    counts[key] += 1


def stats() -> dict[str, int]:
    """A copy of the counts of all calls in this process, by path and by reason."""
    with _lock:
        return dict(STATS)
