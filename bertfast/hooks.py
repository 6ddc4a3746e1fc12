"""What others attach to a module, to watch or to change its calls."""

from __future__ import annotations

from torch import nn

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")

#: Methods that a call looks up on the module itself: one among its attributes stands in for the class's.
_CALLED = frozenset(("forward", "_call_impl"))


def is_watched(module: nn.Module) -> bool:
    """Whether somebody may see what goes through the module, or the gradients that come back."""
    own = module.__dict__
    return any([own[kind] for kind in HOOKS]) or not _CALLED.isdisjoint(own)
