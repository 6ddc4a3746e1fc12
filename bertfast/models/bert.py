"""BERT's classes as transformers has them, with another way from the input ids to the last hidden state.

Heads, losses, pooling, generation, saving and loading are transformers' own code.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import nn
from transformers import GenerationMixin
from transformers.models.bert import modeling_bert as hf

from bertfast import compat, engines
from bertfast.errors import UnsupportedModelError
from bertfast.families import invariant_heads
from bertfast.families.bert_config import check_values
from bertfast.hooks import is_watched
from bertfast.models.forwards import ClassForward
from bertfast.models.loading import load
from bertfast.options import Options, Reads
from bertfast.released import check_not_released, check_traceable, check_unchanged
from bertfast.released_parameter import holds_released

#: An encoder and what its caller reads of it, while such a caller is running.
_reading: ContextVar[tuple[nn.Module | None, Reads]] = ContextVar("bertfast_reading", default=(None, Reads.EVERYTHING))

#: The encoders that `installed_forward` was called for, inside of a function that somebody put over it.
_reached: ContextVar[list[nn.Module] | None] = ContextVar("bertfast_reached", default=None)

BERT = ClassForward(hf.BertModel)
_ARGUMENTS = tuple(
    name
    for name, parameter in inspect.signature(BERT.own).parameters.items()
    if parameter.kind is parameter.POSITIONAL_OR_KEYWORD and name != "self"
)
_TAKES_KEYWORDS = any(p.kind is p.VAR_KEYWORD for p in inspect.signature(BERT.own).parameters.values())


def named_arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any] | None:
    """The arguments of a call by the installed transformers' names, or None if it would raise TypeError."""
    if len(args) > len(_ARGUMENTS) or any(name in kwargs for name in _ARGUMENTS[: len(args)]):
        return None
    if not _TAKES_KEYWORDS and not all(name in _ARGUMENTS for name in kwargs):
        return None
    return {**dict(zip(_ARGUMENTS, args, strict=False)), **kwargs}


def _forward(self: nn.Module, stock: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``BertModel.forward``, packed where it can be, else ``stock``."""
    if torch.compiler.is_compiling():
        check_traceable(self)
        invariant_heads.check_traceable(self)
        return stock(self, *args, **kwargs)
    # Read once: an encoder that runs inside this one is another caller's.
    encoder, reads = _reading.get()
    if encoder is not self or is_watched(self) or not _is_outermost(type(self)):
        reads = Reads.EVERYTHING
    engine = engines.of(self)
    # A subclass may override any step of the way.
    subclass = None if type(self) in (BertModel, hf.BertModel) else f"a subclass, {type(self).__name__}"
    reason = subclass or BERT.replacement(stock)
    if reason is not None:
        engine.fall_back(self, reason)
        return stock(self, *args, **kwargs)
    arguments = named_arguments(args, kwargs)
    # Arguments that do not fit are for transformers to refuse.
    if arguments is not None:
        output = engine.forward(self, stock, arguments, reads)
        if output is not NotImplemented:
            return output
    return stock(self, *args, **kwargs)


def _is_outermost(kind: type[nn.Module]) -> bool:
    """Whether no function of somebody else's stands between the class's forward and its caller."""
    own = _accelerated_forward if kind is BertModel else BERT.layer
    return kind.forward is own and BERT.is_uncovered() and kind.__call__ is nn.Module.__call__


@functools.wraps(BERT.own)
def installed_forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
    """What `install` puts over transformers' ``BertModel.forward``."""
    reached = _reached.get()
    if reached is not None:
        reached.append(self)
    return _forward(self, BERT.beneath, args, kwargs)


@functools.wraps(BERT.own)
def _accelerated_forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
    stock = BERT.current()
    if BERT.layer is None or stock is BERT.beneath or BERT.is_own(stock):
        return _forward(self, stock, args, kwargs)
    # Somebody's function over `installed_forward`, which may be reached through it, or not.
    reached: list[nn.Module] = []
    before = _reached.get()
    try:
        _reached.set(reached)
        output = stock(self, *args, **kwargs)
        if not any(encoder is self for encoder in reached):
            engines.of(self).fall_back(self, BERT.replacement(stock) or "replaced")
        return output
    finally:
        _reached.set(before)


@contextmanager
def reading(encoder: nn.Module, reads: Reads) -> Iterator[None]:
    """Tells ``encoder`` what the calls inside read of its outputs."""
    # Not by a token: an interrupt after the change and before the block would leave it in force.
    before = _reading.get()
    try:
        _reading.set((encoder, reads))
        yield
    finally:
        _reading.set(before)


def reads_pooled_only(stock: Callable[..., Any]) -> Callable[..., Any]:
    """A head's forward that tells its encoder that padding, and all tokens but the first, cannot be seen."""

    @functools.wraps(stock)
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling():
            return stock(self, *args, **kwargs)
        with reading(self.bert, Reads.FIRST_TOKEN):
            return stock(self, *args, **kwargs)

    return forward


def _pooled_head(head: ClassForward) -> Callable[..., Any]:
    """`reads_pooled_only` of a head, unless somebody has replaced transformers' forward."""
    own = reads_pooled_only(head.own)

    @functools.wraps(head.own)
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        found = head.current()
        return (own if head.is_own(found) else found)(self, *args, **kwargs)

    return forward


#: Those of transformers' heads that read the pooled output only.
POOLED_HEADS = tuple(
    ClassForward(head)
    for head in (hf.BertForNextSentencePrediction, hf.BertForSequenceClassification, hf.BertForMultipleChoice)
)
POOLED_HEAD_CLASSES = tuple(head.kind for head in POOLED_HEADS)
_NEXT_SENTENCE, _SEQUENCE, _CHOICE = POOLED_HEADS


class _Made:
    """Made and loaded as transformers' own; ``from_pretrained`` takes the options of `bertfast.accelerate` too."""

    def __init__(self, config: Any, *args: Any, **kwargs: Any) -> None:
        check_values(config)
        super().__init__(config, *args, **kwargs)  # type: ignore[call-arg]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__module__ == __name__:
            # Tools read a constructor's signature; it is still transformers' own.
            stock = next((base for base in cls.__mro__ if base.__module__ == hf.__name__), None)
            if stock is not None:
                cls.__signature__ = inspect.signature(stock)  # type: ignore[attr-defined]
        elif "__init__" in cls.__dict__:
            cls.__signature__ = inspect.signature(cls.__init__)  # type: ignore[attr-defined]

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """As transformers' own; takes the options of `bertfast.accelerate` too."""
        return load(super().from_pretrained, args, kwargs, _set_options)  # type: ignore[misc]


def _set_options(model: nn.Module, given: Mapping[str, Any]) -> None:
    options = Options(**given)
    if options == Options():
        return
    encoders = [module for module in model.modules() if type(module) is BertModel]
    if not encoders:
        raise UnsupportedModelError(
            f"{type(model).__name__} is a subclass of BertModel: it runs stock transformers and can have none of "
            "bertfast's options; load it without them"
        )
    engines.attach_all(model, encoders, options)


class BertModel(_Made, hf.BertModel):
    """transformers' ``BertModel`` on packed tokens."""

    forward = _accelerated_forward

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> nn.Module:
        # .to(), .half() and the like: do not keep the old weights alive until the next call.
        if holds_released(self):
            check_unchanged(self, fn)
            return self
        engines.of(self).preparation.reset()
        return super()._apply(fn, recurse)  # type: ignore[no-any-return]

    def __reduce_ex__(self, protocol: Any) -> Any:
        # Refused before any of it is sent: torch moves what goes to another process into shared memory.
        check_not_released(self, "be copied")
        return super().__reduce_ex__(protocol)


class _WithBert(_Made):
    """A head whose ``bert`` is made by transformers and then accelerated."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.bert.__class__ = BertModel  # type: ignore[attr-defined]


class BertForPreTraining(_WithBert, hf.BertForPreTraining):
    """transformers' ``BertForPreTraining`` on packed tokens."""


class BertLMHeadModel(_WithBert, hf.BertLMHeadModel, GenerationMixin):
    """transformers' ``BertLMHeadModel``; packed unless it is a decoder."""


class BertForMaskedLM(_WithBert, hf.BertForMaskedLM):
    """transformers' ``BertForMaskedLM`` on packed tokens."""


class BertForNextSentencePrediction(_WithBert, hf.BertForNextSentencePrediction):
    """transformers' ``BertForNextSentencePrediction`` on packed tokens, padding dropped."""

    forward = _pooled_head(_NEXT_SENTENCE)


class BertForSequenceClassification(_WithBert, hf.BertForSequenceClassification):
    """transformers' ``BertForSequenceClassification`` on packed tokens, padding dropped."""

    forward = _pooled_head(_SEQUENCE)


class BertForMultipleChoice(_WithBert, hf.BertForMultipleChoice):
    """transformers' ``BertForMultipleChoice`` on packed tokens, padding dropped."""

    forward = _pooled_head(_CHOICE)


class BertForTokenClassification(_WithBert, hf.BertForTokenClassification):
    """transformers' ``BertForTokenClassification`` on packed tokens."""


class BertForQuestionAnswering(_WithBert, hf.BertForQuestionAnswering):
    """transformers' ``BertForQuestionAnswering`` on packed tokens."""


MODELS: tuple[type[nn.Module], ...] = (
    BertModel,
    BertForPreTraining,
    BertLMHeadModel,
    BertForMaskedLM,
    BertForNextSentencePrediction,
    BertForSequenceClassification,
    BertForMultipleChoice,
    BertForTokenClassification,
    BertForQuestionAnswering,
)

#: transformers' class -> bertfast's.
ACCELERATED: dict[type[nn.Module], type[nn.Module]] = {getattr(hf, m.__name__): m for m in MODELS}

for _model in MODELS:
    compat.register_recordable(_model)
