"""Asking which path a call would take: the call runs until its first encoder has decided."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from bertfast.reporting import Call

_ASKING: ContextVar[bool] = ContextVar("bertfast_probing", default=False)


class Decided(BaseException):
    """Ends a call that was only asked about. engine: of the encoder that has decided."""

    def __init__(self, engine: Any, call: Call) -> None:
        super().__init__(call)
        self.engine, self.call = engine, call


@contextmanager
def probing() -> Iterator[None]:
    """Calls inside are only asked about: they raise Decided."""
    # No token of a change that an interrupt may come between: a question that never ends would answer every call.
    before = _ASKING.get()
    try:
        _ASKING.set(True)
        yield
    finally:
        _ASKING.set(before)


def is_probing() -> bool:
    """Whether this call is only asked about."""
    return _ASKING.get()


def decide(engine: Any, call: Call) -> None:
    """What ``engine`` is going to do; raises Decided if that is all that was asked."""
    if _ASKING.get():
        raise Decided(engine, call)
