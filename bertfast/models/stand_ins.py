"""Classes that stand in for others under their names, each made when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def _nothing(stock: Any) -> dict[str, Any]:
    return {}


class StandIns:
    """The stand-ins that a module of bertfast makes: subclasses, by the class that each stands in for.

    Their names are those of the others and their module is that one, so that saving writes the usual names, and pickle
    finds them where the module's ``__getattr__`` gives them.
    """

    def __init__(self, module: str, *mixins: type, body: Callable[[Any], dict[str, Any]] = _nothing) -> None:
        """mixins: bases before the other class. body: more attributes, by the other class."""
        self._module, self._mixins, self._body = module, mixins, body
        self._made: dict[type, type] = {}

    def stand_in(self, stock: type) -> type:
        """The class that stands in for ``stock``."""
        if stock not in self._made:
            about = {"__module__": self._module, "__qualname__": stock.__qualname__, "__doc__": stock.__doc__}
            self._made[stock] = type(stock.__name__, (*self._mixins, stock), {**about, **self._body(stock)})
        return self._made[stock]

    def stock(self, kind: type) -> type | None:
        """The class that ``kind`` stands in for; None if it stands in for none."""
        return next((stock for stock, made in self._made.items() if made is kind), None)
