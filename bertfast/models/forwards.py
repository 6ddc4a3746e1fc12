"""The ``forward`` of transformers' classes: its own, bertfast's layer over it, and what others put in its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from bertfast.errors import UninstallError
from bertfast.origin import home, is_defined_in

Function = Callable[..., Any]


class ClassForward:
    """``forward`` of one of transformers' classes.

    own: as it was when bertfast was imported. beneath: what is called where bertfast's layer does not compute itself.
    layer: bertfast's, while it is installed.
    """

    def __init__(self, kind: type[nn.Module]) -> None:
        self.kind = kind
        self.own: Function = kind.forward
        self.beneath: Function = self.own
        self.layer: Function | None = None
        self._genuine = is_defined_in("transformers", self.own)

    def is_uncovered(self) -> bool:
        """Whether nobody put a function over transformers' own, or over bertfast's layer."""
        found: Function = self.kind.forward
        return found is self.layer or (found is self.own and self._genuine)

    def current(self) -> Function:
        """What transformers' class does now, but for bertfast's own layer where that is the outermost."""
        found: Function = self.kind.forward
        return self.beneath if found is self.layer else found

    def is_own(self, forward: Function) -> bool:
        """Whether ``forward`` is what transformers wrote."""
        return forward is self.own and self._genuine

    def replacement(self, forward: Function) -> str | None:
        """Whose ``forward`` it is, as a reason to run it; None if it is transformers' own."""
        if self.is_own(forward):
            return None
        name = getattr(forward, "__qualname__", type(forward).__qualname__)
        return f"{self.kind.__name__}.forward has been replaced by {home(forward)}.{name}"

    def install(self, layer: Function) -> None:
        """Put ``layer`` over what is there now, unless it is already there, or beneath what others put over it."""
        found: Function = self.kind.forward
        if self.layer is None or found in (self.own, self.beneath):
            # A layer of an earlier install, put back by hand, would be its own stock.
            self.beneath, self.layer = self.own if found is layer else found, layer
            self.kind.forward = layer

    def uninstall(self) -> None:
        """Take bertfast's layer out and nothing else: what was found beneath it stays. See `check_uncovered`."""
        if self.kind.forward is self.layer:
            self.kind.forward = self.beneath
        self.beneath, self.layer = self.own, None

    def check_uncovered(self) -> None:
        """Raises UninstallError if somebody put another function over bertfast's layer."""
        found: Function = self.kind.forward
        if self.layer is not None and found not in (self.layer, self.own, self.beneath):
            raise UninstallError(
                f"{self.replacement(found)} since bertfast.install(); that would be lost, or would keep bertfast's "
                "layer alive: put back what it replaced, and call bertfast.uninstall() again"
            )
