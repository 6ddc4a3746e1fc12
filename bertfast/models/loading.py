"""The options of `accelerate` among the arguments of what loads a model, or makes one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from bertfast.options import Options

_NAMES = frozenset(entry.name for entry in fields(Options))


def load(
    make: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    finish: Callable[[Any, dict[str, Any]], object],
) -> Any:
    """What ``make`` gives for these arguments, after ``finish(model, options)`` with the options among them.

    Raises ValueError for an option that does not exist before anything is loaded.
    """
    given = {name: value for name, value in kwargs.items() if name in _NAMES}
    Options(**given)
    made = make(*args, **{name: value for name, value in kwargs.items() if name not in _NAMES})
    # With output_loading_info, the model and what was found.
    finish(made[0] if isinstance(made, tuple) else made, given)
    return made
