"""What others attach to a module, to watch or to change its calls."""

from __future__ import annotations

from typing import Any

from torch import nn

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")

#: Methods that a call looks up on the module itself: one among its attributes stands in for the class's.
_OWN_CALLS = frozenset(("forward", "_call_impl"))


def is_watched(module: nn.Module) -> bool:
    """Whether somebody may see what goes through the module, or the gradients that come back."""
    own = module.__dict__
    return any([own[kind] for kind in HOOKS]) or not _OWN_CALLS.isdisjoint(own)


def replaced_method(thing: Any) -> str | None:
    """An attribute of the object itself that stands in for a method of its class, or None."""
    kind = type(thing)
    return next((name for name in thing.__dict__ if callable(getattr(kind, name, None))), None)
