"""Ctrl-C at any point of bertfast's own code leaves models usable: right results, and nothing half done."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from precisions import needs
from tolerances import REDUCED_TOLERANCES, assert_close

import bertfast
from bertfast.models.install import is_installed
from bertfast.probing import is_probing
from bertfast.released_parameter import holds_released

# Python has nobody to raise it to where it closes a generator.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

_PACKAGE = str(Path(bertfast.__file__).parent)


class _Interrupts:
    """Raises KeyboardInterrupt where Python may: when a function begins, and when one written in C has returned.

    Only in bertfast's own functions, at the first and the last time that each place is reached: ``at`` counts them.
    """

    def __init__(self, at: tuple[Any, ...] | None) -> None:
        self.at, self.seen = at, dict[tuple[Any, ...], int]()

    def __call__(self, frame: Any, event: str, argument: Any) -> None:
        if event not in ("call", "c_return") or not frame.f_code.co_filename.startswith(_PACKAGE):
            return
        code = frame.f_code
        if event == "call" and code.co_flags & inspect.CO_GENERATOR:
            # What a profiler raises where a generator goes on skips its handlers, as no interrupt does.
            return
        place = (code.co_filename, code.co_name, frame.f_lineno, event, getattr(argument, "__name__", None))
        self.seen[place] = self.seen.get(place, 0) + 1
        if self.at == (place, self.seen[place]):
            sys.setprofile(None)
            raise KeyboardInterrupt


def _run(action: Callable[[], Any], at: tuple[Any, ...] | None) -> _Interrupts:
    watch = _Interrupts(at)
    sys.setprofile(watch)
    try:
        action()
    except KeyboardInterrupt:
        assert at is not None
    finally:
        sys.setprofile(None)
    return watch


def _points(action: Callable[[], Any]) -> list[tuple[Any, ...]]:
    seen = _run(action, None).seen
    return [(place, n) for place, count in seen.items() for n in sorted({1, count})]


@pytest.fixture
def model_and_inputs(make_config, make_batch, stock_and_fast):
    """``make()``: a pair of one layer, and a batch for it."""
    config = make_config("gelu-1x2x32", attn_implementation="sdpa")

    def make(fast: bool = True) -> Any:
        pair = stock_and_fast("BertForSequenceClassification", config)
        return (bertfast.restore(pair.fast) if not fast else pair.fast), make_batch(config), pair

    return make


@torch.no_grad()
def _infer(model: Any, batch: dict[str, Any]) -> torch.Tensor:
    return model(**batch).logits


def test_during_a_forward(model_and_inputs):
    model, batch, _ = model_and_inputs()
    expected = _infer(model, batch)
    points = _points(lambda: _infer(model, batch))
    assert len(points) > 50
    for at in points:
        with torch.no_grad():
            _run(lambda: model(**batch), at)
        assert not is_probing()
        assert torch.equal(_infer(model, batch), expected), at
    assert bertfast.explain(model).path == "fast"


def test_during_the_first_forward(model_and_inputs):
    """While weights are looked at and prepared."""
    model, batch, _ = model_and_inputs()

    def first() -> None:
        bertfast.accelerate(model)
        _infer(model, batch)

    first()
    expected = _infer(model, batch)
    for at in _points(first):
        _run(first, at)
        assert torch.equal(_infer(model, batch), expected), at


@pytest.mark.slow
def test_while_weights_are_given_up(model_and_inputs):
    needs("bfloat16")
    bound = REDUCED_TOLERANCES["bfloat16"].model
    model, batch, pair = model_and_inputs()
    expected = _infer(pair.stock, batch)

    def give_up(model: Any) -> None:
        bertfast.accelerate(model, precision="bfloat16", keep_original=False)

    points = _points(lambda: give_up(model))
    assert any(place[1] == "release" for place, _ in points)
    for at in points:
        model, batch, pair = model_and_inputs()
        grads = [p.requires_grad for p in model.parameters()]
        _run(lambda m=model: give_up(m), at)
        assert_close(_infer(model, batch), expected, bound, str(at))
        if not holds_released(model):
            assert [p.requires_grad for p in model.parameters()] == grads
            model.load_state_dict(pair.stock.state_dict())
        give_up(model)
        assert_close(_infer(model, batch), expected, bound, str(at))


@pytest.mark.parametrize("action", ["accelerated", "installed", "install", "explain", "restore"])
def test_while_models_change(model_and_inputs, action):
    model, batch, pair = model_and_inputs(fast=False)
    expected = _infer(pair.stock, batch)

    def act() -> None:
        if action == "accelerated":
            with bertfast.accelerated(model):
                _infer(model, batch)
        elif action == "installed":
            with bertfast.installed():
                _infer(model, batch)
        elif action == "install":
            bertfast.install()
            bertfast.uninstall()
        elif action == "explain":
            bertfast.explain(bertfast.accelerate(model), **batch)
        else:
            bertfast.accelerate(model)
            bertfast.restore(model)

    kinds = [type(m) for m in model.modules()]
    for at in _points(act):
        _run(act, at)
        assert not is_probing()
        assert_close(_infer(model, batch), expected, pair.bound, str(at))
        if action == "accelerated":
            assert [type(m) for m in model.modules()] == kinds, at
        if action == "installed":
            assert not is_installed(), at
        bertfast.uninstall()
        bertfast.restore(model)
        assert [type(m) for m in model.modules()] == kinds, at
        assert_close(_infer(model, batch), expected, pair.bound, str(at))
