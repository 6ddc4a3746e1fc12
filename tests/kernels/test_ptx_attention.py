"""varlen_attention as nvcc compiled it, run by the interpreter: every path, dtype and head size of the tensor cores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from kernels.comparison import check_emulation, normal
from kernels.device_runs import DeviceRuns
from kernels.elements import ELEMENTS, Element
from kernels.ptx.kinds import Array

pytestmark = pytest.mark.slow

_FLOAT_ROUNDOFF = 2.0**-24
_FLOAT32, _FLOAT16, _BFLOAT16 = ELEMENTS


@dataclass(frozen=True)
class Problem:
    """``lengths`` of the sequences; ``keys``, if not all rows are keys."""

    element: Element
    architecture: str
    head_size: int
    lengths: Sequence[int]
    keys: Sequence[int] | None = None
    num_heads: int = 2
    offsets: Array = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "offsets", np.concatenate([[0], np.cumsum(self.lengths)]).astype(np.int32))

    def __str__(self) -> str:
        lengths = "+".join(map(str, self.lengths))
        return f"sm_{self.architecture}-{self.element}-D{self.head_size}-{lengths}{'-keys' if self.keys else ''}"

    @property
    def is_exact_path(self) -> bool:
        return self.element is _FLOAT32 or self.head_size not in (32, 64, 128)


# Short (at most 64 or 128 rows), flash and exact; one tile and several; rows that are no keys, no row, no key.
_RAGGED, _RAGGED_KEYS = (37, 0, 64, 1, 20), (30, 0, 64, 1, 0)
_PROBLEMS = (
    *(Problem(e, "80", d, _RAGGED, _RAGGED_KEYS) for e in (_FLOAT16, _BFLOAT16) for d in (32, 64, 128)),
    *(Problem(e, "80", d, (128, 3, 77)) for e in (_FLOAT16, _BFLOAT16) for d in (32, 64)),
    *(Problem(e, "80", d, (150, 5), (131, 5)) for e in (_FLOAT16, _BFLOAT16) for d in (32, 64, 128)),
    *(Problem(_FLOAT16, "75", d, _RAGGED, _RAGGED_KEYS) for d in (32, 64, 128)),
    *(Problem(_FLOAT16, "75", d, (150, 5), (131, 5), num_heads=1) for d in (32, 64, 128)),
    *(Problem(e, "80", d, (70, 0, 9), (70, 0, 5), num_heads=1) for e in ELEMENTS for d in (7, 24, 96)),
    *(Problem(_FLOAT32, a, d, (20, 41), num_heads=1) for a in ("75", "80") for d in (32, 64, 128, 256)),
)


@pytest.mark.parametrize("problem", _PROBLEMS, ids=str)
def test_varlen_attention(runs: DeviceRuns, problem: Problem) -> None:
    element = problem.element
    qkv = _random(problem)
    scale = float(np.float32(problem.head_size**-0.5))
    out, emulated = _run(runs, problem, qkv, scale)
    _check_oracle(problem, element.to_float64(qkv), scale, element.to_float64(out))
    # Products and powers of two are rounded otherwise here than there, weights and results to the type: a step of the
    # largest values, below 8, is what a weight that falls to the other side makes of it.
    step = 4.0 * element.unit_roundoff if not problem.is_exact_path else 2.0**-20
    check_emulation(out, emulated, element, 1, step)


# One kernel of each kind and generation; the longer sequence is worked on in several steps.
_SCORE_PROBLEMS = (
    *(Problem(e, "80", 64, (20, 1), num_heads=1) for e in ELEMENTS),
    *(Problem(e, "80", 64, (130, 1), num_heads=1) for e in (_FLOAT16, _BFLOAT16)),
    *(Problem(_FLOAT16, "75", 64, (length, 1), num_heads=1) for length in (20, 130)),
    *(Problem(e, "75", 24, (70, 1), num_heads=1) for e in (_FLOAT32, _FLOAT16)),
)


@pytest.mark.parametrize("problem", _SCORE_PROBLEMS, ids=str)
def test_scores_at_the_edge(runs: DeviceRuns, problem: Problem) -> None:
    """Scores all huge and equal, and some or all of them minus infinity: the mean of the values that count, or 0."""
    element, length = problem.element, problem.lengths[0]
    for query, key, scale in ((2e4, 2e4, 0.125), (2e4, -2e4, 0.125), (1.0, 0.5, 3e38)):
        qkv = _random(problem, query, key)
        out, _ = _run(runs, problem, qkv, scale)
        values = element.to_float64(qkv)[:, 2]
        _check_mean(element, element.to_float64(out)[:length], values[:length])
        _check_mean(element, element.to_float64(out)[length:], values[length:])
    for num_dropped in (1, length - 1, length):
        qkv = _random(problem, 1.0, 1.0)
        qkv[:num_dropped, 1] = element.array(np.array(-np.inf))
        out, _ = _run(runs, problem, qkv, 0.125)
        _check_mean(element, element.to_float64(out)[:length], element.to_float64(qkv)[num_dropped:length, 2])


def _check_mean(element: Element, got: Array, values: Array) -> None:
    count = max(len(values), 1)
    bound = (2 * element.unit_roundoff + count * _FLOAT_ROUNDOFF) * np.abs(values).sum(axis=0) / count
    assert (np.abs(got - values.sum(axis=0) / count) <= bound).all()  # not for NaN


def _random(problem: Problem, query: float | None = None, key: float | None = None) -> Array:
    """qkv, the queries or the keys all of one number if it is given."""
    shape = (int(problem.offsets[-1]), 3, problem.num_heads, problem.head_size)
    qkv = normal(problem.element, 1, shape, deviation=2.0)
    for part, value in enumerate((query, key)):
        if value is not None:
            qkv[:, part] = problem.element.array(np.array(value))
    return qkv


def _run(runs: DeviceRuns, problem: Problem, qkv: Array, scale: float) -> tuple[Array, Array]:
    """What the interpreter made of it, and what the emulation made of it."""
    out = problem.element.empty((len(qkv), problem.num_heads, problem.head_size))
    emulated = runs.run(
        "varlen_attention",
        problem.architecture,
        {
            "qkv": qkv,
            "cu_seqlens": problem.offsets,
            "key_lengths": None if problem.keys is None else np.array(problem.keys, np.int32),
        },
        {"out": out},
        num_tokens=len(qkv),
        num_sequences=len(problem.lengths),
        num_heads=problem.num_heads,
        head_size=problem.head_size,
        max_seqlen=max(problem.lengths),
        scale=scale,
        compute_capability=int(problem.architecture),
        dtype=problem.element.number,
    )["out"]
    return out, emulated


def _check_oracle(problem: Problem, qkv: Array, scale: float, got: Array) -> None:
    for sequence, length in enumerate(problem.lengths):
        rows = slice(problem.offsets[sequence], problem.offsets[sequence + 1])
        num_keys = length if problem.keys is None else problem.keys[sequence]
        for head in range(problem.num_heads):
            q, k, v = qkv[rows, 0, head], qkv[rows, 1, head][:num_keys], qkv[rows, 2, head][:num_keys]
            if num_keys == 0:
                assert not got[rows, head].any(), "a query without any key gives 0"
            else:
                want, bound = _attention(problem, q * scale, k, v)
                error = np.abs(got[rows, head] - want)
                assert (error <= bound).all(), f"sequence {sequence}, head {head}: {np.max(error / bound):.2f} bounds"


def _attention(problem: Problem, q: Array, k: Array, v: Array) -> tuple[Array, Array]:
    """softmax(q k^T) v, and how far off float arithmetic may be."""
    scores = q @ k.T
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    sums = powers.sum(axis=1, keepdims=True)
    weights = powers / sums
    want, magnitude = weights @ v, weights @ np.abs(v)
    # A rounding for each term of a score and of a sum; tensor cores take the weights rounded to their type, of
    # which the smallest of float16 have a fixed step.
    largest_products = (np.abs(q) @ np.abs(k).T).max(axis=1, keepdims=True)
    relative = 2 * (problem.head_size + 2) * _FLOAT_ROUNDOFF * largest_products + (len(k) + 16) * _FLOAT_ROUNDOFF
    step = 0.0
    if not problem.is_exact_path:
        relative = relative + problem.element.unit_roundoff
        step = 2.0**-25 if problem.element is _FLOAT16 else 0.0
    bound = relative * magnitude + step * np.abs(v).sum(axis=0) / np.maximum(sums, 1.0)
    return want, bound + 1.01 * problem.element.unit_roundoff * np.abs(want) + 1e-30


@pytest.mark.parametrize("architecture", ["75", "80"])
@pytest.mark.parametrize("element", ELEMENTS, ids=str)
@pytest.mark.parametrize("head_size", [7, 32, 64, 128, 256])
def test_first_token_attention(runs: DeviceRuns, architecture: str, element: Element, head_size: int) -> None:
    if element is _BFLOAT16 and architecture == "75":
        pytest.skip("sm_75 has no bfloat16 conversions")
    problem = Problem(element, architecture, head_size, (70, 0, 1, 9), (70, 0, 1, 5), num_heads=1)
    assert problem.keys is not None
    qkv, scale = _random(problem), float(np.float32(head_size**-0.5))
    query = normal(element, 2, (len(problem.lengths), 1, head_size), deviation=2.0)
    out = element.empty(query.shape)
    emulated = runs.run(
        "first_token_attention",
        architecture,
        {
            "query": query,
            "key_value": np.ascontiguousarray(qkv[:, 1:]),
            "cu_seqlens": problem.offsets,
            "key_lengths": np.array(problem.keys, np.int32),
        },
        {"out": out},
        num_tokens=len(qkv),
        num_sequences=len(problem.lengths),
        num_heads=1,
        head_size=head_size,
        scale=scale,
        dtype=element.number,
    )["out"]
    for sequence, num_keys in enumerate(problem.keys):
        rows = element.to_float64(qkv)[problem.offsets[sequence] :][:num_keys, :, 0]
        q, got = element.to_float64(query)[sequence] * scale, element.to_float64(out)[sequence]
        if num_keys == 0:
            assert not got.any(), "a query without any key gives 0"
            continue
        scores = rows[:, 1] @ q[0]
        weights = np.exp(scores - scores.max())
        want = weights @ rows[:, 2] / weights.sum()
        assert (np.abs(got[0] - want) <= 1e-4 + 1.01 * element.unit_roundoff * np.abs(want)).all()
    check_emulation(out, emulated, element, 1, 2.0**-18)
