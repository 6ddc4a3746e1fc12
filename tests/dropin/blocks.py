"""Blocks that make models fast, and how a call inside of one ran."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

import bertfast
from dropin.helpers import counted, output_of

HEAD = "BertForSequenceClassification"
SCOPES: dict[str, Callable[[nn.Module], Any]] = {
    "accelerated": bertfast.accelerated,
    "installed": lambda model: bertfast.installed(),
}


def opened(scope: Any) -> Any:
    scope.__enter__()
    return scope


def close(scope: Any) -> None:
    scope.__exit__(None, None, None)


def path_of(model: nn.Module, batch: dict[str, Any]) -> str:
    """How a call of ``model`` ran: "fast", or "untouched" by bertfast."""
    with counted() as calls:
        output_of(model, batch)
    assert calls in ({"fast": 1}, {})
    return "fast" if calls else "untouched"
