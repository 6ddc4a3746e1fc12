"""What `accelerated` blocks have made fast, and what it was before the first of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from weakref import WeakValueDictionary

from torch import nn

from bertfast import engines
from bertfast.changing import CHANGING
from bertfast.engine import Engine
from bertfast.models.bert import BertModel
from bertfast.models.encoders import is_encoder
from bertfast.models.install import is_installed


class Part:
    """An encoder, a head or a SentenceTransformer that blocks are open on: the last to end puts back what was there.

    It belongs to those blocks, and goes with them. A block that nobody ended is ended by the garbage collector, at any
    time, also inside of these methods: each of them ends in a state that the blocks left over decide alone.
    """

    def __init__(self, thing: Any) -> None:
        self._thing = thing
        self._blocks: dict[object, Engine | None] = {}
        self._kind = self._fast = type(thing)
        self._engine: Engine | None = None

    @staticmethod
    def of(thing: Any) -> Part:
        """The part that open blocks share; a new one if there is none."""
        with CHANGING:
            return _parts.setdefault(id(thing), Part(thing))

    def enter(self, fast: type, block: object, given: Mapping[str, Any]) -> None:
        """Make the thing a ``fast`` for as long as ``block`` lasts, with the options given, else those in force."""
        with CHANGING:
            thing = self._thing
            if not self._blocks:
                self._kind, self._fast, self._engine = type(thing), fast, _held(thing)
            engine = _engine_for(thing, given)
            self._blocks[block] = engine
            thing.__class__ = fast
            if engine is not None:
                engines.put(thing, engine)

    def leave(self, block: object) -> None:
        """End one block: its options go, and with the last one all of it. Nothing, if an explicit call ended it."""
        with CHANGING:
            if block not in self._blocks:
                return
            try:
                del self._blocks[block]
                self._settle()
            except BaseException:  # an interrupt: nobody asks for this block again
                self._blocks.pop(block, None)
                self._settle()
                raise

    def _settle(self) -> None:
        """Make the thing what the blocks that are left ask for."""
        latest = next(reversed(self._blocks.values()), None)
        if latest is not None:
            engines.put(self._thing, latest)
        if not self._blocks:
            self._put_back()

    def _put_back(self) -> None:
        if type(self._thing) is self._fast:
            self._thing.__class__ = self._kind
        if isinstance(self._thing, nn.Module):
            # An engine of `install` that has ended since is of no use.
            wanted = issubclass(self._kind, BertModel) or is_installed()
            engines.put(self._thing, self._engine if wanted else None)

    @staticmethod
    def release(thing: Any) -> None:
        """End all blocks as far as ``thing`` is concerned: somebody decides what it is from now on."""
        part = _parts.get(id(thing))
        if part is not None:
            part._blocks.clear()

    @staticmethod
    def keep(thing: Any) -> None:
        """Let ``thing`` be fast when the blocks that are open on it have ended, too."""
        part = _parts.get(id(thing))
        if part is not None:
            part._kind = part._fast


#: By identity. A part holds its thing, so no other thing can have that id while the part is there.
_parts: WeakValueDictionary[int, Part] = WeakValueDictionary()


def _held(thing: Any) -> Engine | None:
    return engines.held(thing) if isinstance(thing, nn.Module) else None


def _engine_for(thing: Any, given: Mapping[str, Any]) -> Engine | None:
    """The engine of an encoder inside of a block; None for anything else."""
    if not isinstance(thing, nn.Module) or not is_encoder(thing):
        return None
    return engines.variant(thing, given) if given else engines.of(thing)
