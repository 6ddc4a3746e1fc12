"""Whether somebody stands between a library's own code and its caller: a hook, or a method that was replaced."""

from __future__ import annotations

from operator import attrgetter
from types import FunctionType
from typing import Any

from torch import nn

from bertfast.hooks import is_watched, replaced_method
from bertfast.origin import is_defined_in

# contextlib makes context managers of the others' functions.
_LIBRARIES = ("transformers", "torch", "bertfast", "contextlib")
# Asked about classes, never called for an object.
_OF_CLASSES = ("__subclasshook__", "__init_subclass__", "__class_getitem__")
#: What runs between the caller of a module and its ``forward``.
CALL_METHODS = ("__call__", "_call_impl", "forward", "__getattr__", "__getattribute__")


def is_untouched(module: nn.Module) -> bool:
    """Whether the module has no hook, is not compiled, and no attribute of its own stands in for a method.

    Stricter than `bertfast.hooks.is_watched`, which asks who sees a call of the module: here, who could change it.
    """
    compiled = module.__dict__.get("_compiled_call_impl") is not None
    return not is_watched(module) and not compiled and replaced_method(module) is None


class OwnMethods:
    """The methods of a class as they were when this was made, and whether they still are."""

    def __init__(self, kind: type, names: tuple[str, ...] = ()) -> None:
        """names: the methods; without, all that the class and its bases have."""
        self._kind = kind
        self._get = attrgetter(*(names or _method_names(kind)))
        self._values = self._get(kind)
        self._genuine = all(map(_is_genuine, self._values))

    def unchanged(self) -> bool:
        """Whether each method is what the libraries wrote, and nobody's is in its place."""
        try:
            return self._genuine and self._get(self._kind) == self._values
        except AttributeError:
            return False


def _method_names(kind: type) -> tuple[str, ...]:
    """Functions, properties and the like, those of ``object`` too: ``__getattribute__`` can be overridden."""
    found = {name: value for base in reversed(kind.__mro__) for name, value in vars(base).items()}
    wanted = (n for n, value in found.items() if hasattr(type(value), "__get__") and n not in _OF_CLASSES)
    return tuple(sorted(name for name in wanted if hasattr(kind, name)))


def _is_genuine(value: Any) -> bool:
    """Whether the libraries defined it; what is no function is fine if Python itself made its type."""
    function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
    if isinstance(function, FunctionType):
        return is_defined_in(_LIBRARIES, function)
    return type(function).__module__ == "builtins"
