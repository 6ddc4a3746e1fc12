"""Accelerate models that exist already, for good or for the length of a block, and tell how they ran."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import nn
from transformers.models.bert import modeling_bert as hf

from bertfast.engine import PROBING, Engine, Probed
from bertfast.errors import UnsupportedModelError
from bertfast.models import pipeline_classes, sentence_transformers
from bertfast.models.bert import ACCELERATED, BertModel
from bertfast.models.install import is_installed
from bertfast.options import Options
from bertfast.reporting import FAST, Call, Report
from bertfast.weights import EncoderWeights

T = TypeVar("T")

_ORIGINALS = {fast: stock for stock, fast in ACCELERATED.items()}


def accelerate(model: T, *, pad_outputs: str = "auto", on_fallback: str = "log", cuda_graphs: bool = True) -> T:
    """Make every BERT encoder inside ``model`` run on bertfast, in place, and return ``model``.

    model: an nn.Module, or an object whose ``model`` is one (a pipeline). pad_outputs: ``"auto"`` drops padding
    where it cannot be seen and computes it elsewhere, ``"exact"`` never drops it, ``"zero"`` always does and
    returns zeros there. on_fallback: ``"log"``, ``"silent"`` or ``"raise"`` when a call must run stock transformers.
    cuda_graphs: on a GPU, replay captured launches for small batches (`warmup` captures them before the first call).
    Calling it again changes the options. Raises UnsupportedModelError if there is no BERT encoder inside.
    """
    return _accelerate(model, Options(pad_outputs, on_fallback, cuda_graphs))


def accelerate_what_is_stock(model: T) -> T:
    """`accelerate` with its defaults, but encoders that are accelerated already keep their options."""
    return _accelerate(model, None)


def _accelerate(model: T, options: Options | None) -> T:
    root = root_of(model)
    encoders = [m for m in root.modules() if type(m) in (hf.BertModel, BertModel)]
    if not encoders:
        raise UnsupportedModelError(
            f"{type(model).__name__} holds no transformers BertModel; bertfast accelerates "
            f"{', '.join(sorted(m.__name__ for m in _ORIGINALS))} and modules that contain one"
        )
    for part in _parts(model):
        fast = _accelerated_class(type(part))
        if fast is not None:
            part.__class__ = fast
    for encoder in encoders:
        if options is not None or Engine.held(encoder) is None:
            Engine.attach(encoder, options or Options())
    return model


def holds_encoder(root: nn.Module) -> bool:
    """Whether there is an encoder inside ``root`` that `accelerate` knows."""
    return any(type(module) in (hf.BertModel, BertModel) for module in root.modules())


def restore(model: T) -> T:
    """Undo `accelerate`, in place: every encoder inside ``model`` is transformers' own class again.

    Nothing else changes: attributes, hooks and replaced methods stay as they are.
    """
    for part in _parts(model):
        stock = _stock_class(type(part))
        if stock is not None:
            part.__class__ = stock
        if isinstance(part, nn.Module):
            Engine.detach(part)
    return model


@contextmanager
def accelerated(model: T, **options: Any) -> Iterator[T]:
    """`accelerate` for the length of a ``with`` block; at its end, ``model`` is what it was before.

    options: of `accelerate`. What was accelerated before stays so, with the options it had; inside of the block,
    options that are given hold for it too. Blocks may be nested. All threads see the change.
    """
    before = [(part, type(part), Engine.held(part)) for part in _parts(model)]
    accelerate(model, **options) if options else accelerate_what_is_stock(model)
    try:
        yield model
    finally:
        for part, kind, engine in before:
            if type(part) is _accelerated_class(kind):
                part.__class__ = kind
            if isinstance(part, nn.Module):
                Engine.put(part, engine)


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


def explain(model: Any, *args: Any, **kwargs: Any) -> Report:
    """Which path the last call of ``model`` took and why, token counts, who computed each op, memory.

    With inputs, tells which path a call with them would take, without running it. For a model with several encoders,
    the first is reported, or the first that such a call reaches, and the ``others`` beside it. Raises
    UnsupportedModelError if there is none, and the errors of bad inputs.
    """
    root = root_of(model)
    encoders = encoders_of(root)
    calls = {Engine.of(encoder): Engine.of(encoder).last or Call("not called yet") for encoder in encoders}
    first = Engine.of(encoders[0])
    if args or kwargs:
        first, calls[first] = _probe(root, args, kwargs)
    names = {module: name for name, module in root.named_modules()}
    reports = {e: _report(m, names[m], e, calls[e]) for m in encoders for e in [Engine.of(m)]}
    # A call may reach an encoder that the model does not register.
    found = reports.get(first) or _report(encoders[0], "", first, calls[first])
    return replace(found, others=tuple(report for e, report in reports.items() if e is not first))


def _probe(root: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Engine, Call]:
    """Run ``root`` up to its first encoder's decision."""
    token = PROBING.set(True)
    try:
        root(*args, **kwargs)
    except Probed as probed:
        return probed.engine, probed.call
    finally:
        PROBING.reset(token)
    raise UnsupportedModelError(f"{type(root).__name__} did not call its encoder for these inputs")


def _report(encoder: nn.Module, name: str, engine: Engine, call: Call) -> Report:
    weights, graphs = engine.weights, engine.graphs
    float32 = weights is not None and weights.dtype == torch.float32
    return Report(
        encoder=type(encoder).__name__,
        path=call.path,
        reason=call.reason,
        real_tokens=call.real_tokens,
        computed_tokens=call.computed_tokens,
        padded_tokens=call.padded_tokens,
        first_token_only=call.first_token_only,
        pad_outputs=engine.options.pad_outputs,
        dtype=None if weights is None else str(weights.dtype),
        linear_backend=None if weights is None else weights.backend.linear(weights.dtype).name,
        fast_calls=engine.counts["fast"],
        stock_calls=engine.counts["stock"],
        cuda_graphs=0 if graphs is None else len(graphs),
        cuda_graph_bytes=0 if graphs is None else graphs.num_bytes,
        buffer_bytes=engine.buffer_bytes,
        name=name,
        matmul_precision=weights.backend.float32_precision() if weights is not None and float32 else None,
        ops=_ops(weights, call),
    )


def _ops(weights: EncoderWeights | None, call: Call) -> dict[str, str]:
    """Who computes each step of a fast call."""
    if weights is None or call.path != FAST:
        return {}
    linear, ops = weights.backend.linear(weights.dtype), weights.backend.ops
    rest = ops if linear.own_ops else "PyTorch"
    return {"embedding": ops, "linear": linear.name, "attention": ops, "activation": rest, "norm": rest}


def root_of(model: Any) -> nn.Module:
    """The module itself, or the one that a pipeline holds."""
    root = model if isinstance(model, nn.Module) else getattr(model, "model", None)
    if not isinstance(root, nn.Module):
        raise UnsupportedModelError(
            f"expected a torch module or an object whose .model is one, got {type(model).__name__}"
        )
    return root


def encoders_of(root: nn.Module) -> list[nn.Module]:
    """The accelerated encoders inside ``root``. Raises UnsupportedModelError if there is none."""
    patched = is_installed()
    found = [m for m in root.modules() if type(m) is BertModel or (patched and type(m) is hf.BertModel)]
    if not found:
        raise UnsupportedModelError(f"{type(root).__name__} holds no accelerated encoder; call bertfast.accelerate")
    return found
