"""The groups by key, as pytest's parameters, and the table that a run prints."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest
import torch

from benchmarks.kernels import dense_groups, op_groups
from benchmarks.kernels.groups import Group
from bertfast.tables import table

_PARAMETERS = ("shape", "dtype", "implementation")


@functools.cache
def by_key() -> Mapping[tuple[str, str, str], Group]:
    """All groups that this machine can run, each once, those of a CPU first."""
    every = [*op_groups.cpu_groups()]
    for precision in dense_groups.PRECISIONS:
        every += [] if dense_groups.unavailable(precision) else dense_groups.groups(precision)
    every += op_groups.cuda_groups() if torch.cuda.is_available() else []
    found: dict[tuple[str, str, str], Group] = {}
    for group in every:
        found.setdefault(group.key, group)
    return found


def op_cases(op: str) -> pytest.MarkDecorator:
    """The parameters of an op's test; without a GPU, one that says so and skips."""
    cases = list(_cases(op))
    if not torch.cuda.is_available():
        cases.append(_skipped("cuda", "no NVIDIA GPU"))
    return pytest.mark.parametrize(_PARAMETERS, cases)


def dense_cases(layer: str) -> pytest.MarkDecorator:
    """The same of a dense layer; a precision that this machine lacks is one that says so and skips."""
    reasons = {precision: dense_groups.unavailable(precision) for precision in dense_groups.PRECISIONS}
    skipped = [_skipped(precision, reason) for precision, reason in reasons.items() if reason is not None]
    return pytest.mark.parametrize(_PARAMETERS, [*_cases(layer), *skipped])


def _cases(op: str) -> Iterator[object]:
    for group in by_key().values():
        if group.op == op:
            for name in group.names:
                yield pytest.param(group.shape, group.dtype, name, id=f"{group.shape}-{group.dtype}-{name}")


def _skipped(name: str, reason: str) -> object:
    return pytest.param("", "", "", id=name, marks=pytest.mark.skip(reason=f"{name}: {reason}"))


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
