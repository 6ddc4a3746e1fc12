"""When a model is made ready to run: at the first call, and again whenever it has changed."""

from __future__ import annotations

from torch import nn

from bertfast.changing import CHANGING
from bertfast.graphs import GraphCache
from bertfast.precision import Choice
from bertfast.prepared import Prepared, prepare
from bertfast.released import release, renewed
from bertfast.released_parameter import holds_released
from bertfast.reporting import logger
from bertfast.runner import LayerRunner
from bertfast.weights import EncoderWeights


class Preparation:
    """The prepared weights of one ``BertModel``. Safe to use from several threads.

    last: what was prepared last, None before the first fast call.
    """

    def __init__(self, precision: str | None, invariant: bool = False) -> None:
        self.precision = precision
        self.invariant = invariant
        self.last: Prepared | None = None
        self._said_precision = False

    @property
    def weights(self) -> EncoderWeights | None:
        """The prepared weights, or None before the first fast call."""
        return None if self.last is None else self.last.weights

    @property
    def runner(self) -> LayerRunner | None:
        """Who runs small batches; None before the first fast call, and where launches cost nothing."""
        return None if self.last is None else self.last.runner

    @property
    def graphs(self) -> GraphCache | None:
        """The captured graphs of small batches; None where there is no `runner`."""
        return None if self.runner is None else self.runner.graphs

    def of(self, model: nn.Module) -> Prepared:
        """The prepared weights of ``model`` as it is now. Raises Refused with the first thing that does not fit."""
        found = self.last
        return found if found is not None and found.holds() else self._renew(model)

    def release(self, model: nn.Module, replaced: Preparation | None) -> None:
        """Give up the weights of ``model`` that `of` has copied: see `released.release`.

        replaced: another preparation of the same model, which calls that are running may still ask; it gives them the
        copies from now on.
        """
        with CHANGING:
            assert self.last is not None
            self.last = release(model, self.last)
            if replaced is not None:
                replaced.last = self.last

    def reset(self) -> None:
        """Forget the prepared weights; the next call prepares them again."""
        self.last = None

    def _renew(self, model: nn.Module) -> Prepared:
        with CHANGING:
            found = self.last
            if found is not None and found.holds():
                # Another thread was first.
                return found
            if holds_released(model):
                found = self.last = renewed(model, found)
                return found
            found = self.last = prepare(model, self.precision, self.invariant)
            self._say_precision(model, found.choice)
            return found

    def _say_precision(self, model: nn.Module, choice: Choice) -> None:
        """Say once why another precision is used than was asked for, or what would be faster in this one."""
        name = type(model).__name__
        if choice.lacks is not None and not self._said_precision:
            logger.warning("bertfast: %s computes in float32, not in %s: %s", name, self.precision, choice.lacks)
        if choice.advice is not None and not self._said_precision:
            logger.warning("bertfast: %s is multiplied by PyTorch's oneDNN: %s", name, choice.advice)
        self._said_precision = True
