"""Every op over BERT's shapes: those of a CPU are chosen here, those of a GPU are `make gpu`'s."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor

from benchmarks.cpu.rows import SHORT_LENGTHS, ragged_lengths
from benchmarks.gpu.kernels.agreement import relative_error
from benchmarks.gpu.kernels.bench import MODELS, all_cases
from benchmarks.gpu.kernels.cases import KernelCase, make_cases
from benchmarks.kernels.groups import Group, Inputs
from benchmarks.kernels.implementations import PYTORCH, implementations
from bertfast.roofline.work import Shape

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
# Model -> the lengths of the texts of a batch, and what they are padded to.
_BATCHES: dict[str, tuple[tuple[tuple[int, ...], int], ...]] = {
    "base": (
        ((128,) * 8, 128),
        ((128,), 128),
        ((32,), 32),
        (ragged_lengths(), max(ragged_lengths())),
        (SHORT_LENGTHS, 512),
    ),
    "large": (((128,) * 8, 128), (ragged_lengths(), max(ragged_lengths()))),
}
# Ops whose work depends on the number of rows alone.
_BY_ROWS = ("residual_layer_norm", "bias_gelu")
# Relative: some unit roundoffs of the dtype. A layout has to be the same.
_ALLOWED = {torch.float32: 1e-5, torch.float16: 5e-3, torch.bfloat16: 4e-2}


def cpu_groups() -> Iterator[Group]:
    """All ops on a CPU."""
    for model, batches in _BATCHES.items():
        for lengths, padded_len in batches:
            for dtype in _DTYPES:
                shape = Shape(len(lengths), padded_len, dtype.itemsize, *MODELS[model])
                yield from _groups(make_cases(model, shape, lengths, dtype, adds_bias=False), "cpu")


def cuda_groups() -> Iterator[Group]:
    """All ops on a GPU, at the shapes of `make gpu`."""
    yield from _groups(all_cases(dry=False), "cuda")


def _groups(cases: Iterable[KernelCase], device: str) -> Iterator[Group]:
    for case in cases:
        # It computes ids, whatever the dtype of a model.
        if case.op != "unpad_input" or case.dtype == torch.float32:
            yield make_group(case, device)


def make_group(case: KernelCase, device: str) -> Group:
    """Of an op at a shape."""
    candidates = implementations(case.op, device, case.dtype)

    def make() -> Inputs:
        calls = case.make(torch.device(device))
        reads = calls.reads if calls.theirs is None else min(calls.reads, calls.their_reads)
        values = [value for value in calls.arguments if isinstance(value, Tensor)]
        return Inputs(values, {one.name: one.bind(case.op, calls) for one in candidates}, reads, calls.holds)

    dtype = "int64" if case.op == "unpad_input" else str(case.dtype).removeprefix("torch.")
    names = tuple(one.name for one in candidates)
    shape = f"{'cuda-' if device == 'cuda' else ''}{case.model}-{_shape(case)}"
    return Group(
        case.op,
        shape,
        dtype,
        device,
        case.work,
        names,
        make,
        lambda inputs: _errors(case, inputs),
        _ALLOWED[case.dtype],
    )


def _shape(case: KernelCase) -> str:
    shape = case.shape
    if case.op in _BY_ROWS:
        return f"{sum(case.lengths)}x{shape.inner if case.op == 'bias_gelu' else shape.hidden}"
    return f"{'ragged' if case.is_ragged else ''}{shape.batch}x{shape.length}x{shape.hidden}"


def _errors(case: KernelCase, inputs: Inputs) -> Mapping[str, float]:
    """Against PyTorch; where it has nothing like it, against the reference."""
    results = {name: call() for name, call in inputs.calls.items()}
    if PYTORCH not in results:
        expected = results["reference"]
        return {name: 0.0 if _equal(result, expected) else math.inf for name, result in results.items()}
    expected = results.pop(PYTORCH)
    first = {name: result[0] if isinstance(result, tuple) else result for name, result in results.items()}
    return {name: relative_error(case, result, expected) for name, result in first.items()}


def _equal(left: tuple[Tensor, ...], right: tuple[Tensor, ...]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))
