"""What the drop-in tests share beside the fixtures."""

from __future__ import annotations

import logging
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import transformers
from tolerances import REDUCED_TOLERANCES, assert_same_output, relative_error
from torch import Tensor, nn
from transformers.models.bert.modeling_bert import BertEmbeddings

import bertfast

V5 = int(transformers.__version__.split(".")[0]) >= 5
needs_v5 = pytest.mark.skipif(not V5, reason="only transformers 5 does this")
needs_v4 = pytest.mark.skipif(V5, reason="only transformers 4 does this")


def encoder_of(model: nn.Module) -> nn.Module:
    """The ``BertModel`` of a head, or the model itself."""
    return getattr(model, "bert", model)


def layer(model: nn.Module, index: int = 0) -> nn.Module:
    """One ``BertLayer``."""
    return encoder_of(model).encoder.layer[index]


def attention(model: nn.Module, index: int = 0) -> nn.Module:
    """The module that holds ``query``, ``key`` and ``value``."""
    return layer(model, index).attention.self


@torch.no_grad()
def scale_weights(model: nn.Module, factor: float = 1.2) -> None:
    """Change every parameter in place."""
    for parameter in model.parameters():
        parameter.mul_(factor)


def assert_differ(actual: Any, before: Any) -> None:
    """The first tensors of two outputs are far apart: what was done in between can be seen."""
    first, second = (output if isinstance(output, Tensor) else output[0] for output in (actual, before))
    if first.shape == second.shape:
        assert relative_error(first, second) > 1e-3, "the outputs are the same as before; this proves nothing"


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """The calls that bertfast counts inside of the block, filled in at its end."""
    before, calls = Counter(bertfast.stats()), Counter[str]()
    yield calls
    calls.update(Counter(bertfast.stats()) - before)


@contextmanager
def log_of_bertfast(caplog: pytest.LogCaptureFixture) -> Iterator[list[logging.LogRecord]]:
    """What bertfast logs inside of the block, from INFO up, filled in at its end."""
    records: list[logging.LogRecord] = []
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="bertfast"):
        yield records
    records += [record for record in caplog.records if record.name == "bertfast"]


def assert_falls_back(
    pair: Any, call: Callable[[nn.Module], Any], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """``call`` makes bertfast run stock: same result, counted, explained, logged once, refused or silent on demand.

    reason: a regular expression for what is counted, explained and logged.
    """
    expected = call(pair.stock)
    with counted() as calls, log_of_bertfast(caplog) as records:
        assert_same_output(call(pair.fast), expected, pair.bound)
        call(pair.fast)
    key = _counted_reason(calls, reason)

    report = bertfast.explain(pair.fast)
    assert (report.path, report.reason) == ("stock", key.removeprefix("stock: "))
    assert re.search(reason, str(report))

    assert len(records) == 1, [record.getMessage() for record in records]
    message = records[0].getMessage()
    assert "runs stock transformers" in message
    assert re.search(reason, message)
    assert records[0].levelno == (logging.INFO if reason.startswith("training") else logging.WARNING)

    bertfast.accelerate(pair.fast, on_fallback="raise")
    with _no_stock(), pytest.raises(bertfast.FallbackError, match=reason):
        call(pair.fast)

    bertfast.accelerate(pair.fast, on_fallback="silent")
    with log_of_bertfast(caplog) as records:
        assert_same_output(call(pair.fast), expected, pair.bound)
    assert records == []


def _counted_reason(calls: Counter[str], reason: str) -> str:
    """The only reason among the calls; it matches ``reason``, and every call went to stock because of it."""
    assert calls["fast"] == 0, calls
    reasons = [key for key in calls if key.startswith("stock: ")]
    assert len(reasons) == 1, calls
    assert re.search(reason, reasons[0]), calls
    assert calls["stock"] == calls[reasons[0]] >= 2, calls
    return reasons[0]


@contextmanager
def _no_stock() -> Iterator[None]:
    """Fails if transformers' own embeddings, the first thing that stock computes, run inside of the block."""
    code, calls = BertEmbeddings.forward.__code__, []

    def note(frame: Any, event: str, arg: Any) -> None:
        if event == "call" and frame.f_code is code:
            calls.append(frame)

    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(None)
    assert not calls, "stock transformers ran"


def plain_call(batch: dict[str, Tensor], **more: Any) -> Callable[[nn.Module], Any]:
    """A call without gradients."""

    def call(model: nn.Module) -> Any:
        with torch.no_grad():
            return model(**{**batch, **more})

    return call


def state_of(model: nn.Module) -> list[tuple[type, dict[str, Any]]]:
    """Class and attributes of every module: what `restore` has to give back."""
    return [(type(module), dict(module.__dict__)) for module in model.modules()]


def output_of(model: nn.Module, inputs: dict[str, Any]) -> Any:
    """The output of a call without gradients."""
    with torch.no_grad():
        return model(**inputs)


@torch.no_grad()
def check_reduced(pair: Any, batch: dict[str, Tensor], all_fast: Callable[..., Any]) -> Tensor:
    """The output of a fast call of a model with a precision, which is as near to stock as that allows."""
    with all_fast(pair.fast):
        actual = pair.fast(**batch).last_hidden_state
    used = bertfast.explain(pair.fast).matmul_precision
    assert relative_error(actual, pair.stock(**batch).last_hidden_state) <= REDUCED_TOLERANCES[used].model
    return actual
