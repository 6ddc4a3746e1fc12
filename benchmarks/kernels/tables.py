"""The groups by key, as pytest's parameters, and the table that a run prints."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

import pytest
import torch

from benchmarks.kernels import dense_groups, op_groups
from benchmarks.kernels.groups import Group
from bertfast.tables import table

PARAMETERS = ("op", "shape", "dtype", "implementation")


@functools.cache
def by_key() -> Mapping[tuple[str, str, str], Group]:
    """All groups that this machine can run, each once, by device and op."""
    every = [*op_groups.cpu_groups()]
    for precision in dense_groups.PRECISIONS:
        every += [] if dense_groups.unavailable(precision) else dense_groups.groups(precision)
    every += op_groups.cuda_groups() if torch.cuda.is_available() else []
    found: dict[tuple[str, str, str], Group] = {}
    for group in sorted(every, key=lambda group: (group.device, group.op)):
        found.setdefault(group.key, group)
    return found


def cases() -> list[object]:
    """The benchmark's parameters, a group after the other. What this machine lacks is one case, which says so."""
    found: list[object] = []
    for group in by_key().values():
        for name in group.names:
            found.append(pytest.param(*group.key, name, id=f"{group.op}-{group.shape}-{group.dtype}-{name}"))
    for precision in dense_groups.PRECISIONS:
        reason = dense_groups.unavailable(precision)
        found += [] if reason is None else [_skipped(precision, reason)]
    return found if torch.cuda.is_available() else [*found, _skipped("cuda", "no NVIDIA GPU")]


def _skipped(name: str, reason: str) -> object:
    return pytest.param(*("" for _ in PARAMETERS), id=name, marks=pytest.mark.skip(reason=f"{name}: {reason}"))


#: The fixture that measures: op, shape, dtype, implementation.
Measure = Callable[[str, str, str, str], None]
Line = tuple[str, str, Mapping[str, object], float]


def render(lines: Sequence[Line]) -> str:
    """lines: group, implementation, its facts and its median in microseconds."""
    rows: list[Sequence[str]] = []
    before = ""
    for group, name, facts, median_us in lines:
        cpu, ratio = facts.get("cpu_us"), facts.get("pytorch_by_this_cpu") or facts["pytorch_by_this"]
        rows.append(
            (
                "" if group == before else group,
                name,
                f"{median_us:.1f}",
                "-" if cpu is None else f"{cpu:.1f}",
                "-" if ratio is None else f"{ratio:.2f}x",
                f"{facts['gb_per_s']:.1f}",
                f"{facts['gflop_per_s']:.0f}",
                f"{facts['share_of_ceiling']:.0%} {facts['ceiling']}",
                str(facts["inputs_from"]),
            )
        )
        before = group
    header = ("group", "implementation", "us", "CPU us", "PyTorch", "GB/s", "GFLOP/s", "share of", "inputs from")
    return table(header, rows)
