"""Accelerate models that exist already, for good or for the length of a block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from torch import nn

from bertfast import engines
from bertfast.changing import CHANGING
from bertfast.errors import UnsupportedModelError
from bertfast.families.invariant_heads import set_invariant
from bertfast.models import pipeline_classes, sentence_transformers
from bertfast.models.bert import ACCELERATED
from bertfast.models.encoders import holds_encoder, is_encoder, root_of
from bertfast.models.scopes import Part
from bertfast.options import Options
from bertfast.released import check_not_released

T = TypeVar("T")

_ORIGINALS = {fast: stock for stock, fast in ACCELERATED.items()}


def accelerate(
    model: T,
    *,
    pad_outputs: str = "auto",
    on_fallback: str = "log",
    cuda_graphs: bool = True,
    precision: str | None = None,
    keep_original: bool = True,
    invariant: bool = False,
) -> T:
    """Make every BERT encoder inside ``model`` run on bertfast, in place, and return ``model``.

    model: an nn.Module, or an object whose ``model`` is one (a pipeline). pad_outputs: ``"auto"`` drops padding
    where it cannot be seen and computes it elsewhere, ``"exact"`` never drops it, ``"zero"`` always does and
    returns zeros there. on_fallback: ``"log"``, ``"silent"`` or ``"raise"`` when a call must run stock transformers.
    cuda_graphs: on a GPU, replay captured launches for small batches (`warmup` captures them before the first call).
    precision: in what a CPU multiplies float32 weights: ``"bfloat16"`` or ``"int8"``, of copies, around a residual
    stream in float32; ``"auto"``: bfloat16 where the CPU is fast at it; None: as the model is. Where the CPU lacks
    the instructions, float32 is used and a warning says so. Gradients are always those of stock. keep_original: False
    frees the weights that were copied; the model can then neither run stock, nor be trained, moved or saved.
    invariant: a text's result is the same to the bit whatever batch it is in and wherever it stands there, at a price
    (docs/reliability.md); what would run stock raises FallbackError, and what cannot be invariant InvarianceError.

    Calling it again changes the options. Raises UnsupportedModelError if there is no BERT encoder inside, or one that
    cannot give up its weights, ValueError for an option that does not exist, PrecisionError for a precision that the
    weights do not allow, ReleasedWeightsError for one that needs weights given up before. Then nothing has changed.
    """
    return _accelerate(model, Options(pad_outputs, on_fallback, cuda_graphs, precision, keep_original, invariant))


def accelerate_loaded(model: Any, given: Mapping[str, Any]) -> None:
    """`accelerate` what was just loaded, a model or a pipeline, with the options given.

    Without any, encoders that are accelerated already keep theirs, and what holds no encoder stays as it is.
    """
    root = model if isinstance(model, nn.Module) else getattr(model, "model", None)
    options = Options(**given)
    if options != Options() or (isinstance(root, nn.Module) and holds_encoder(root)):
        _accelerate(model, options if given else None)


def _accelerate(model: T, options: Options | None) -> T:
    with CHANGING:
        encoders = [e for e in _encoders(model) if options is not None or engines.held(e) is None]
        engines.attach_all(root_of(model), encoders, options)
        if options is not None:
            sentence_transformers.pool_apart(root_of(model), options.invariant)
        decide = Part.keep if options is None else Part.release
        for part, fast in _accelerable(model):
            decide(part)
            part.__class__ = fast
    return model


def restore(model: T) -> T:
    """Undo `accelerate`, in place: every encoder inside ``model`` is transformers' own class again.

    Nothing else changes: attributes, hooks and replaced methods stay as they are. Inside of an `accelerated` block it
    holds at once, and when the block has ended, whatever the model was before. Raises ReleasedWeightsError, and changes
    nothing, for a model that was accelerated with ``keep_original=False``.
    """
    with CHANGING:
        for encoder in filter(is_encoder, root_of(model).modules()):
            check_not_released(encoder, "run stock transformers")
        set_invariant(root_of(model), list(filter(is_encoder, root_of(model).modules())), False)
        sentence_transformers.pool_apart(root_of(model), False)
        for part in _parts(model):
            Part.release(part)
            stock = _stock_class(type(part))
            if stock is not None:
                part.__class__ = stock
            if isinstance(part, nn.Module):
                engines.detach(part)
    return model


@contextmanager
def accelerated(model: T, **options: Any) -> Iterator[T]:
    """`accelerate` for the length of a ``with`` block, in all threads; at its end, ``model`` is what it was before.

    options: of `accelerate`; those that are not given are those in force when the block begins. What was accelerated
    before stays so. Blocks may overlap in any order, in threads and in waiting generators: the model is fast until the
    last one ends, with the options of the block that began last.

    The block is about what is inside of ``model`` when it begins, and follows it if it is taken out. What is put in
    later stays what it is; so does a copy, which is accelerated by itself if the original is. `accelerate` and
    `restore` inside of a block are for good: the block's end changes nothing of the model they were called for.
    """
    given = Options(**options)
    if given.invariant:
        raise ValueError("invariant=True: the end of a block does not put heads back; use bertfast.accelerate")
    if not given.keep_original:
        raise ValueError("keep_original=False: the end of a block needs the weights; use bertfast.accelerate")
    block, parts = object(), list[Part]()
    try:
        with CHANGING:
            for encoder in _encoders(model):
                engines.check_options([encoder], engines.changed_options(encoder, options))
            for part, fast in _accelerable(model):
                # Noted first: what an interrupt leaves half entered is left.
                parts.append(Part.of(part))
                parts[-1].enter(fast, block, options)
        yield model
    finally:
        try:
            _leave(parts, block)
        except BaseException:  # an interrupt, which may not leave some of it fast
            _leave(parts, block)
            raise


def _leave(parts: list[Part], block: object) -> None:
    with CHANGING:
        for entered in parts:
            entered.leave(block)


def _encoders(model: Any) -> list[nn.Module]:
    """The encoders inside ``model``. Raises UnsupportedModelError if there is none."""
    encoders = [module for module in root_of(model).modules() if is_encoder(module)]
    if not encoders:
        raise UnsupportedModelError(
            f"{type(model).__name__} holds no transformers BertModel; bertfast accelerates "
            f"{', '.join(sorted(m.__name__ for m in _ORIGINALS))} and modules that contain one"
        )
    return encoders


def _accelerable(model: Any) -> Iterator[tuple[Any, type]]:
    """What has a class of bertfast's, or could have, and that class."""
    for part in _parts(model):
        kind = type(part)
        fast = kind if _stock_class(kind) is not None else _accelerated_class(kind)
        if fast is not None:
            yield part, fast


def _parts(model: Any) -> list[Any]:
    """What may change its class: a pipeline, and the modules inside."""
    modules = list(root_of(model).modules())
    return modules if isinstance(model, nn.Module) else [model, *modules]


def _accelerated_class(kind: type) -> type | None:
    return (
        ACCELERATED.get(kind)
        or sentence_transformers.accelerated_class(kind)
        or pipeline_classes.accelerated_class(kind)
    )


def _stock_class(kind: type) -> type | None:
    return _ORIGINALS.get(kind) or sentence_transformers.stock_class(kind) or pipeline_classes.stock_class(kind)
