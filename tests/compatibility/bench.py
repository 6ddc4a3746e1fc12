"""Models, inputs and comparisons for the rows."""

from __future__ import annotations

import copy
import functools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tolerances import TOLERANCES, assert_gradients_close, assert_same_output
from torch import Tensor, nn

import bertfast

TEXTS = [
    "A short text.",
    "Another text, somewhat longer than the first, which is therefore padded in a batch.",
    "One",
    "The quick brown fox jumps over the lazy dog, and nobody reads the padding behind it.",
]
BOUND = TOLERANCES[torch.float32].model
_PLAIN = {"attn_implementation": "sdpa", "hidden_dropout_prob": 0, "attention_probs_dropout_prob": 0}


@dataclass
class Bench:
    """refusal: the error that a row got in the place of a result. elsewhere: calls counted by other processes."""

    _stock_and_fast: Callable[..., Any]
    make_config: Callable[..., Any]
    _make_batch: Callable[..., Any]
    minilm: Path
    folder: Path
    refusal: str | None = None
    elsewhere: Counter[str] = field(default_factory=Counter)

    def pair(self, class_name: str = "BertModel", dtype: torch.dtype = torch.float32, **changes: Any) -> Any:
        """A tiny stock model and its bertfast twin: two layers, sdpa, no dropout, seeded weights."""
        return self._stock_and_fast(class_name, self.config(**changes), dtype)

    def config(self, **changes: Any) -> Any:
        """Of the tiny models."""
        return self.make_config(**{**_PLAIN, **changes})

    def batch(self, side: str = "right") -> dict[str, Tensor]:
        """Five texts of 1 to 13 tokens for a tiny model."""
        return self._make_batch(self.config(), (9, 4, 13, 1, 13), side)

    def real(self, class_name: str = "BertModel", **changes: Any) -> Any:
        """MiniLM, a new head on it if the class has one: (stock, bertfast's) in eval mode."""
        torch.manual_seed(0)
        stock = getattr(transformers, class_name).from_pretrained(self.minilm, **changes).eval()
        fast = getattr(bertfast, class_name)(copy.deepcopy(stock.config)).eval()
        fast.load_state_dict(stock.state_dict())
        return stock, fast

    @functools.cached_property
    def tokenizer(self) -> Any:
        """MiniLM's."""
        return transformers.AutoTokenizer.from_pretrained(self.minilm)

    def tokens(self, texts: Any = TEXTS, *more: Any, **options: Any) -> dict[str, Tensor]:
        """The texts as a padded batch."""
        return dict(self.tokenizer(texts, *more, padding=True, truncation=True, return_tensors="pt", **options))

    def same(self, call: Callable[[Any], Any], stock: Any, fast: Any, bound: float = BOUND) -> Any:
        """``call`` gives the same for both models; returns bertfast's result."""
        expected, actual = call(stock), call(fast)
        assert_same(actual, expected, bound)
        return actual

    def refused(self, call: Callable[[Any], Any], stock: Any, fast: Any) -> None:
        """``call`` raises on bertfast's model, and if it does on stock's, what the same ``except`` catches."""
        error, expected = _error_of(call, fast), _error_of(call, stock)
        assert error is not None, "bertfast has not refused it"
        self.refusal = type(error).__name__
        if expected is not None:
            assert isinstance(error, type(expected)), f"{error!r} for stock's {expected!r}"
            self.refusal += ", as stock"


def _error_of(call: Callable[[Any], Any], model: Any) -> Exception | None:
    try:
        call(model)
    except Exception as error:
        return error
    return None


def plain(batch: dict[str, Any], **more: Any) -> Callable[[nn.Module], Any]:
    """A call without gradients."""

    def call(model: nn.Module) -> Any:
        with torch.no_grad():
            return model(**{**batch, **more})

    return call


def gradients(model: nn.Module, loss: Callable[[nn.Module], Tensor]) -> dict[str, Tensor | None]:
    """Of all parameters, by name."""
    model.zero_grad()
    loss(model).backward()
    return {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}


def same_gradients(loss: Callable[[nn.Module], Tensor], stock: nn.Module, fast: nn.Module) -> None:
    """The gradients of ``loss(model)`` are equal for all parameters."""
    bound = TOLERANCES[torch.float32].gradient
    assert_gradients_close(gradients(fast, loss), gradients(stock, loss), bound)


def assert_same(actual: Any, expected: Any, bound: float = BOUND, where: str = "result") -> None:
    """Equal, tensors and numbers within ``bound``: what models, pipelines and libraries around them return."""
    assert type(actual) is type(expected), f"{where}: {type(actual)}, expected {type(expected)}"
    if isinstance(expected, np.ndarray):
        assert actual.dtype == expected.dtype, where
        assert_same(torch.from_numpy(actual), torch.from_numpy(expected), bound, where)
    elif isinstance(expected, list | tuple):
        if expected and all(type(value) is float for value in expected):
            expected, actual = torch.tensor(expected), torch.tensor(actual)
            assert_same_output(actual, expected, bound, where)
            return
        assert len(actual) == len(expected), where
        for i, (part, wanted) in enumerate(zip(actual, expected, strict=True)):
            assert_same(part, wanted, bound, f"{where}[{i}]")
    elif isinstance(expected, dict):
        assert list(actual) == list(expected), where
        for name in expected:
            assert_same(actual[name], expected[name], bound, f"{where}.{name}")
    elif isinstance(expected, float | np.floating):
        # A probability has been through a softmax of logits that are within the bound.
        assert actual == pytest.approx(expected, rel=10 * bound, abs=bound), where
    elif isinstance(expected, Tensor) and not expected.is_floating_point():
        assert torch.equal(actual, expected), where
    else:
        assert_same_output(actual, expected, bound, where)
