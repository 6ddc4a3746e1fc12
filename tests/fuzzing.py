"""How much a fuzzer tries: a few examples, always the same, in `make test`; many new ones in `make fuzz`."""

from __future__ import annotations

import os
from typing import Any

import torch
from hypothesis import HealthCheck, settings
from tolerances import assert_same_output
from torch.utils._pytree import tree_leaves, tree_map_only

import bertfast

#: How many times as many examples as in `make test`.
TIMES = int(os.environ.get("BERTFAST_FUZZ", "1"))


def fuzzer(examples: int) -> settings:
    """The settings of a fuzzer that tries so many examples in `make test`."""
    return settings(
        max_examples=examples * TIMES,
        derandomize=TIMES == 1,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def outcome(run: Any, *args: Any, **kwargs: Any) -> Any:
    """What a call without gradients gives, or raises."""
    with torch.no_grad():
        try:
            return run(*args, **kwargs)
        except Exception as error:
            return error


def assert_same_outcome(actual: Any, expected: Any, bound: float) -> None:
    """A result where stock has one, within ``bound`` of it; else an error of stock's type, or one of bertfast's own."""
    if isinstance(expected, Exception):
        assert isinstance(actual, Exception), f"stock raises {expected!r}"
        assert isinstance(actual, (bertfast.BertfastError, type(expected))), f"{actual!r}, stock raises {expected!r}"
        return
    if isinstance(actual, Exception):
        raise AssertionError(f"stock has a result, bertfast raises {actual!r}") from actual
    for found, wanted in zip(_tensors(actual), _tensors(expected), strict=True):
        assert torch.equal(_kind(found), _kind(wanted)), "other places hold NaN or infinity"
    assert_same_output(_finite(actual), _finite(expected), bound)


def _tensors(output: Any) -> list[torch.Tensor]:
    return [leaf.detach() for leaf in tree_leaves(output) if isinstance(leaf, torch.Tensor)]


def _kind(number: torch.Tensor) -> torch.Tensor:
    """What each number is: finite, NaN, or infinite, above or below."""
    return torch.where(number.isnan(), 2, number.isinf() * number.sign())


def _finite(output: Any) -> Any:
    return tree_map_only(torch.Tensor, lambda tensor: tensor.nan_to_num(0, 0, 0), output)
