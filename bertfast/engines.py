"""Which engine a ``BertModel`` has: made when it is first called, exchanged with its options, taken away."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from bertfast.backends import resolve_precision
from bertfast.changing import CHANGING
from bertfast.engine import Engine
from bertfast.errors import UnsupportedModelError
from bertfast.families import Refused
from bertfast.families.invariant_heads import set_invariant
from bertfast.options import Options
from bertfast.preparing import Preparation
from bertfast.released import check_not_released, check_not_shared
from bertfast.released_parameter import holds_released
from bertfast.reporting import logger

_ATTRIBUTE = "_bertfast_engine"

_ENGINES: weakref.WeakSet[Engine] = weakref.WeakSet()


def of(model: nn.Module) -> Engine:
    """The engine of a ``BertModel``, made when it is first asked for."""
    # Every call comes by here.
    engine: Engine | None = model.__dict__.get(_ATTRIBUTE)
    if engine is not None and engine.belongs_to(model):
        return engine
    with CHANGING:
        found = held(model)
        if found is None or not found.belongs_to(model):
            # A copy of a model has modules of its own: a pickle, a shallow copy, a replica of DataParallel.
            found = Engine(None if found is None else found.asked)
            put(model, found)
        return found


def held(owner: Any) -> Engine | None:
    """The engine that ``owner`` has, if any."""
    engine: Engine | None = owner.__dict__.get(_ATTRIBUTE)
    return engine


def put(model: nn.Module, engine: Engine | None) -> None:
    """Give a ``BertModel`` an engine, or none."""
    if engine is None:
        detach(model)
        return
    with CHANGING:
        engine.owner = weakref.ref(model)
        _ENGINES.add(engine)
        model.__dict__[_ATTRIBUTE] = engine


def detach(model: nn.Module) -> None:
    """Take a model's engine away, if it has one."""
    model.__dict__.pop(_ATTRIBUTE, None)


def detach_all_but(kept: type[nn.Module]) -> None:
    """Take the engines of all models away that are not of this class."""
    with CHANGING:
        owners = [engine.owner() for engine in _ENGINES if engine.owner is not None]
        for owner in owners:
            if owner is not None and not isinstance(owner, kept):
                detach(owner)


def attach_all(root: nn.Module, encoders: Sequence[nn.Module], asked: Options | None) -> None:
    """Give the encoders inside of ``root`` new engines; with ``keep_original=False``, give up what these have copied.

    Raises what `check_options` raises, and UnsupportedModelError for weights that cannot be given up; then nothing has
    changed.
    """
    options = asked or Options()
    with CHANGING:
        check_options(encoders, options)
        engines = {encoder: Engine(asked, _released_weights(encoder)) for encoder in encoders}
        given_up = [] if options.keep_original else _prepare_to_release(root, engines)
        if options.invariant:
            # First: an interrupt may leave no engine that is invariant before heads that are not.
            set_invariant(root, encoders, True)
        for encoder in given_up:
            before = held(encoder)
            # First: an interrupt may leave no model without the engine that has the copies.
            put(encoder, engines[encoder])
            engines[encoder].preparation.release(encoder, None if before is None else before.preparation)
        for encoder, engine in engines.items():
            put(encoder, engine)
        if asked is not None and not options.invariant:
            set_invariant(root, encoders, False)


def check_options(encoders: Iterable[nn.Module], options: Options) -> None:
    """Raise ReleasedWeightsError or PrecisionError for encoders that cannot have these options."""
    for encoder in encoders:
        weights = _released_weights(encoder)
        if weights is None or options.keep_original or options.precision != weights.precision:
            check_not_released(encoder)
            resolve_precision(options.precision, next(encoder.parameters()))


def changed_options(model: nn.Module, given: Mapping[str, Any]) -> Options:
    """The options in force for a ``BertModel``, but for those that are given."""
    found = held(model)
    return replace(Options() if found is None else found.options, **given)


def variant(model: nn.Module, given: Mapping[str, Any]) -> Engine:
    """An engine with `changed_options`, which shares the prepared weights of the one in force if it can."""
    engine, options = of(model), changed_options(model, given)
    same = (engine.options.precision, engine.options.invariant) == (options.precision, options.invariant)
    return Engine(options, engine.preparation if same else None)


def _released_weights(model: nn.Module) -> Preparation | None:
    """What is left of a model whose weights were given up; None for any other model."""
    engine = held(model)
    return engine.preparation if engine is not None and engine.belongs_to(model) and holds_released(model) else None


def _prepare_to_release(root: nn.Module, engines: Mapping[nn.Module, Engine]) -> list[nn.Module]:
    """Prepare the encoders that can give up weights, those which are copied for their precision, and return them."""
    copying = [e for e, engine in engines.items() if not holds_released(e) and _copies(e, engine.options)]
    for encoder in copying:
        try:
            prepared = engines[encoder].preparation.of(encoder)
        except Refused as refusal:
            raise UnsupportedModelError(
                f"{type(encoder).__name__} runs stock transformers ({refusal}), which needs the weights that "
                "keep_original=False gives up"
            ) from refusal
        check_not_shared(root, encoder, prepared)
    return copying


def _copies(encoder: nn.Module, options: Options) -> bool:
    """Whether these options copy weights. If not, says that there is nothing to give up."""
    choice = resolve_precision(options.precision, next(encoder.parameters()))
    # What the machine lacks is said when the weights are prepared.
    if choice.reduced is None and choice.lacks is None:
        logger.warning(
            "bertfast: %s keeps its weights in spite of keep_original=False: precision=%r copies none",
            type(encoder).__name__,
            options.precision,
        )
    return choice.reduced is not None
