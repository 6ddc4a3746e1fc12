"""Whose code a function is. ``__module__`` does not tell: `functools.wraps` copies it."""

from __future__ import annotations

from collections.abc import Callable
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any


def home(function: Callable[..., Any]) -> str:
    """The name of the module that a function was written in."""
    module = getattr(function, "__self__", None)
    if isinstance(function, BuiltinFunctionType) and isinstance(module, ModuleType):
        return module.__name__
    return str(getattr(function, "__globals__", {}).get("__name__") or getattr(function, "__module__", "?"))


def is_defined_in(packages: str | tuple[str, ...], function: Callable[..., Any] | None) -> bool:
    """Whether the function, and each that it wraps, was written in one of the packages."""
    allowed = (packages,) if isinstance(packages, str) else packages
    while function is not None:
        # Any other callable may say of itself what it likes.
        if not isinstance(function, FunctionType | BuiltinFunctionType):
            return False
        if home(function).split(".", 1)[0] not in allowed:
            return False
        function = getattr(function, "__wrapped__", None)
    return True
