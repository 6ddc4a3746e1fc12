"""Many threads on many models at once: every call gets the bits that it gets alone, whatever else goes on.

``BERTFAST_STRESS_SECONDS`` sets how long each case runs, 3 without it.
"""

from __future__ import annotations

import copy
import faulthandler
import os
import pickle
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import bertfast
from bertfast.errors import ReleasedWeightsError
from bertfast.linear import missing

pytestmark = pytest.mark.slow

_SEED = 8
_CALLERS = 5
_OPTIONS: dict[str, dict[str, Any]] = {
    "float32": {},
    "padding dropped": {"pad_outputs": "zero"},
    "invariant": {"invariant": True},
    "bfloat16": {"precision": "bfloat16"},
    "int8": {"precision": "int8"},
    "int8 alone": {"precision": "int8", "keep_original": False},
}
_CHANGES: tuple[dict[str, Any], ...] = ({}, {"precision": "bfloat16"}, {"precision": "int8"}, {"pad_outputs": "zero"})

_Batch = Mapping[str, Tensor]
_Task = Callable[[random.Random], None]


def _infer(model: nn.Module, batch: _Batch) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(**batch)[0]
    return found


@dataclass(frozen=True)
class _Served:
    """A model, and of each batch what it may give: one result, or several while options change."""

    name: str
    model: nn.Module
    batches: Sequence[_Batch]
    expected: Sequence[list[Tensor]]

    def check(self, numbers: random.Random, model: nn.Module | None = None) -> None:
        i = numbers.randrange(len(self.batches))
        found = _infer(self.model if model is None else model, self.batches[i])
        assert any(torch.equal(found, one) for one in self.expected[i]), f"{self.name}, batch {i}: other bits"


def _is_here(options: Mapping[str, Any]) -> bool:
    return options.get("precision") is None or missing(options["precision"]) is None


@pytest.fixture
def serve(make_config, stock_and_fast, make_batch) -> Callable[..., _Served]:
    """``serve(name, *options)``: a model with the first of these options, and what it gives with any, alone."""
    numbers = random.Random(_SEED)
    config = make_config("gelu_new-2x2x64", attn_implementation="sdpa")
    shapes = [[numbers.randint(1, 40) for _ in range(numbers.randint(1, 9))] for _ in range(8)]
    sides = [numbers.choice(["right", "left", "holed"]) for _ in shapes]
    batches = [make_batch(config, *shape, seed=i) for i, shape in enumerate(zip(shapes, sides, strict=True))]

    def make(name: str, *options: Mapping[str, Any]) -> _Served:
        made = [
            bertfast.accelerate(stock_and_fast("BertForTokenClassification", config).fast, **one)
            for one in options
            if _is_here(one)
        ]
        return _Served(name, made[0], batches, [[_infer(model, batch) for model in made] for batch in batches])

    return make


def _makes_copies(served: Sequence[_Served]) -> _Task:
    def task(numbers: random.Random) -> None:
        one = numbers.choice(served)
        make = numbers.choice([copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
        if one.name == "int8 alone":
            with pytest.raises(ReleasedWeightsError):
                make(one.model)
        else:
            one.check(numbers, make(one.model))

    return task


def _looks(served: Sequence[_Served]) -> _Task:
    def task(numbers: random.Random) -> None:
        one = numbers.choice(served)
        assert str(bertfast.explain(one.model))
        assert bertfast.explain(one.model, **numbers.choice(one.batches)).path == "fast"
        assert bertfast.stats()["fast"] > 0

    return task


def _restores(own: _Served, stock: Sequence[Tensor]) -> _Task:
    """A model of its own is stock and fast in turn, for good and in blocks."""

    def check_stock(numbers: random.Random) -> None:
        i = numbers.randrange(len(stock))
        assert torch.equal(_infer(own.model, own.batches[i]), stock[i]), f"{own.name}, batch {i}: not stock's bits"

    def task(numbers: random.Random) -> None:
        bertfast.restore(own.model)
        check_stock(numbers)
        with bertfast.accelerated(own.model):
            own.check(numbers)
        check_stock(numbers)
        bertfast.accelerate(own.model)
        own.check(numbers)

    return task


def _changes_options(changing: _Served) -> _Task:
    def task(numbers: random.Random) -> None:
        options = numbers.choice([None, *(one for one in _CHANGES if _is_here(one))])
        if options is None:
            bertfast.restore(changing.model)
        else:
            bertfast.accelerate(changing.model, **options)
        changing.check(numbers)

    return task


@pytest.fixture(params=[1, 2])
def torch_threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before, interval = torch.get_num_threads(), sys.getswitchinterval()
    torch.set_num_threads(request.param)
    # Threads take turns a hundred times as often as usual.
    sys.setswitchinterval(5e-5)
    yield request.param
    sys.setswitchinterval(interval)
    torch.set_num_threads(before)


def _run_all(tasks: Sequence[_Task], seconds: float) -> list[int]:
    """Each task again and again in a thread of its own; the first error is raised. Returns how often each ran."""
    errors, counts, end = list[BaseException](), [0] * len(tasks), time.monotonic() + seconds

    def work(index: int) -> None:
        numbers = random.Random(_SEED + index)
        try:
            while time.monotonic() < end and not errors:
                tasks[index](numbers)
                counts[index] += 1
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(index,), daemon=True) for index in range(len(tasks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds + 60)
    if any(thread.is_alive() for thread in threads):
        faulthandler.dump_traceback()
        pytest.fail("threads wait for each other")
    if errors:
        raise errors[0]
    return counts


def test_everybody_gets_the_bits_of_a_call_alone(serve, torch_threads):
    served = [serve(name, options) for name, options in _OPTIONS.items() if _is_here(options)]
    own = serve("stock in turn", {})
    bertfast.restore(own.model)
    stock = [_infer(own.model, batch) for batch in own.batches]
    changing = serve("options change", *_CHANGES)
    for expected, one in zip(changing.expected, stock, strict=True):
        expected.append(one)

    def calls(numbers: random.Random) -> None:
        numbers.choice([*served, changing]).check(numbers)

    others = [_makes_copies(served), _looks(served), _restores(own, stock), _changes_options(changing)]
    counts = _run_all([calls] * _CALLERS + others, float(os.environ.get("BERTFAST_STRESS_SECONDS", "3")))
    print(f"{torch_threads} threads of torch: {sum(counts[:_CALLERS])} calls, {counts[_CALLERS:]} of the others")
    assert min(counts) > 0
