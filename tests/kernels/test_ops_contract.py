"""What holds for every emulated op: the schema, the errors, the strides and the fake of its Python twin."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from ops.cases import OPS, parts, with_strides
from ops.wrong_arguments import WRONG_CONTENTS, WRONG_DTYPES, WRONG_SHAPES, WRONG_VALUES

from kernels.emulated_ops import KERNEL_OPS

_EACH_OP = pytest.mark.parametrize("op", KERNEL_OPS)
_KERNEL_DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def _python_op(name: str) -> Any:
    return getattr(torch.ops.bertfast, name)


def _same(actual: Any, expected: Any) -> bool:
    return all(torch.equal(*pair) for pair in zip(parts(actual), parts(expected), strict=True))


@_EACH_OP
def test_same_schema(emulated, op):
    wanted = str(_python_op(op).default._schema).replace("bertfast::", "bertfast_emulated::")
    assert str(getattr(emulated, op).default._schema) == wanted


@pytest.mark.parametrize("num_tokens", [0, 7])
@pytest.mark.parametrize("dtype", _KERNEL_DTYPES, ids=str)
@_EACH_OP
def test_opcheck(emulated, op, dtype, num_tokens):
    for make in (OPS[op].make, OPS[op].make_full):
        torch.library.opcheck(getattr(emulated, op).default, (), make(num_tokens, dtype))


@_EACH_OP
def test_any_strides(emulated, op):
    arguments = OPS[op].make_full(7, torch.float32)
    strided = {name: with_strides(value) for name, value in arguments.items()}
    out = getattr(emulated, op)(**strided)
    assert _same(out, getattr(emulated, op)(**arguments))
    assert all(part.is_contiguous() for part in parts(out))


@_EACH_OP
def test_inputs_are_left_alone(emulated, op):
    arguments = OPS[op].make_full(7, torch.float32)
    kept = {name: value.clone() for name, value in arguments.items() if isinstance(value, torch.Tensor)}
    getattr(emulated, op)(**arguments)
    for name, value in kept.items():
        assert torch.equal(arguments[name], value), name


def _assert_same_refusal(emulated, op, name, arguments):
    with pytest.raises(ValueError, match=rf"^{name}: expected .*, got ") as wanted:
        _python_op(op)(**arguments)
    with pytest.raises(ValueError, match=rf"^{name}: expected .*, got ") as refusal:
        getattr(emulated, op)(**arguments)
    assert str(refusal.value) == str(wanted.value)


@pytest.mark.parametrize(("op", "name", "shape"), [case for case in WRONG_SHAPES if case[0] in KERNEL_OPS])
def test_wrong_shapes(emulated, op, name, shape):
    arguments = OPS[op].make_full(7, torch.float32)
    arguments[name] = torch.ones(shape, dtype=arguments[name].dtype)
    _assert_same_refusal(emulated, op, name, arguments)


@pytest.mark.parametrize(("op", "name", "dtype"), [case for case in WRONG_DTYPES if case[0] in KERNEL_OPS])
def test_wrong_dtypes(emulated, op, name, dtype):
    arguments = OPS[op].make_full(7, torch.float32)
    arguments[name] = arguments[name].to(dtype)
    _assert_same_refusal(emulated, op, name, arguments)


@pytest.mark.parametrize(
    ("op", "name", "changes"), [case for case in (*WRONG_VALUES, *WRONG_CONTENTS) if case[0] in KERNEL_OPS]
)
def test_wrong_values_and_contents(emulated, op, name, changes):
    _assert_same_refusal(emulated, op, name, {**OPS[op].make_full(7, torch.float32), **changes})


@pytest.mark.parametrize("op", [op for op in KERNEL_OPS if op != "unpad_input"])  # which computes nothing
def test_no_kernel_computes_in_float64(emulated, op):
    wanted = r"^\w+: expected torch.float32 or torch.float16 or torch.bfloat16, got torch.float64$"
    with pytest.raises(ValueError, match=wanted):
        getattr(emulated, op)(**OPS[op].make(7, torch.float64))


@_EACH_OP
def test_every_schedule_gives_the_same_bits(emulated, op):
    arguments = OPS[op].make(33, torch.float16)
    expected = getattr(emulated, op)(**arguments)
    for seed in range(1, 6):
        emulated.set_schedule_seed(seed)
        assert _same(getattr(emulated, op)(**arguments), expected), f"schedule {seed}"


def test_threads_do_not_meet(emulated):
    """Each host thread emulates a multiprocessor of its own: shared memory, fibers and schedule."""
    barrier = threading.Barrier(4)
    cases = [(op, OPS[op].make(33 + 8 * i, torch.float32)) for i, op in enumerate(KERNEL_OPS)][:4]
    expected = [getattr(emulated, op)(**arguments) for op, arguments in cases]

    def work(thread: int) -> list[torch.Tensor]:
        emulated.set_schedule_seed(thread)
        barrier.wait(30)
        results = []
        for i in range(12):
            op, arguments = cases[(thread + i) % len(cases)]
            results.append(getattr(emulated, op)(**arguments))
        return results

    for _ in range(2):  # fibers end with their thread; the next ones make their own
        with ThreadPoolExecutor(4) as pool:
            for thread, results in enumerate(pool.map(work, range(4))):
                for i, result in enumerate(results):
                    assert _same(result, expected[(thread + i) % len(cases)]), (thread, i)
