"""Tell which path calls took, and why."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from bertfast import engines
from bertfast.engine import Engine
from bertfast.errors import UnsupportedModelError
from bertfast.health import fault_of
from bertfast.models.encoders import encoders_of, root_of
from bertfast.probing import Decided, probing
from bertfast.reporting import FAST, STOCK, Call, Report
from bertfast.weights import EncoderWeights

#: Why the calls of a compiled module tell nothing of themselves.
TRACED = "compiled by torch.compile: transformers' own code is traced, and its calls are not counted"


def explain(model: Any, *args: Any, **kwargs: Any) -> Report:
    """Which path the last call of ``model`` took and why, token counts, who computed each op, memory, health.

    model: as for `accelerate`, or a bound method of such an object, as in ``explain(sentence_model.encode, texts)``.
    With inputs, those that calling ``model`` takes (a pipeline: texts, and what its task needs beside them, such as
    ``candidate_labels``), tells which path that call would take. It runs only as far as the first encoder's decision:
    tokenizer, hooks and whatever else comes before. For a model with several encoders, the first is reported, or the
    first that such a call reaches, and the ``others`` beside it. Raises UnsupportedModelError if none is accelerated,
    and the errors of bad inputs.
    """
    root = root_of(model.__self__ if inspect.ismethod(model) else model)
    encoders = encoders_of(root)
    compiled = [module for module in root.modules() if _is_compiled(module)]
    traced = {engines.of(inner) for module in compiled for inner in module.modules() if inner in encoders}
    calls = {e: Call(STOCK, TRACED) if e in traced else _last(e) for e in map(engines.of, encoders)}
    first = engines.of(encoders[0])
    if args or kwargs:
        # Nothing is compiled for a question. Torch's compiler is not imported either, where nobody uses it.
        with torch.compiler.set_stance("force_eager") if compiled else nullcontext():
            first, call = _probe(model, args, kwargs)
        calls[first] = Call(STOCK, TRACED) if first in traced else call
    names = {module: name for name, module in root.named_modules()}
    reports = {e: _report(m, names[m], e, calls[e]) for m in encoders for e in [engines.of(m)]}
    # A call may reach an encoder that the model does not register.
    found = reports.get(first) or _report(encoders[0], "", first, calls[first])
    return replace(found, others=tuple(report for e, report in reports.items() if e is not first))


def _last(engine: Engine) -> Call:
    return engine.last or Call("not called yet")


def _is_compiled(module: nn.Module) -> bool:
    """Whether calling it runs torch's compiler: ``torch.compile(module)``, ``module.compile()``, a compiled forward."""
    forward = module.__dict__.get("forward")
    return (
        "_orig_mod" in module._modules
        or module._compiled_call_impl is not None
        or hasattr(forward, "_torchdynamo_orig_callable")
    )


def _probe(call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Engine, Call]:
    """Run ``call`` up to its first encoder's decision."""
    try:
        with probing():
            result = call(*args, **kwargs)
            if isinstance(result, Iterator):
                # A pipeline that is given an iterator computes nothing before it is asked for results.
                next(iter(result), None)
    except Decided as decided:
        return decided.engine, decided.call
    raise UnsupportedModelError(f"{_name(call)} did not call its encoder for these inputs")


def _name(call: Callable[..., Any]) -> str:
    return call.__qualname__ if inspect.ismethod(call) else type(call).__name__


def _report(encoder: nn.Module, name: str, engine: Engine, call: Call) -> Report:
    weights, runner = engine.preparation.weights, engine.preparation.runner
    fault = fault_of(encoder)
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
        linear_backend=None if weights is None else weights.linear.name,
        fast_calls=engine.counts[FAST],
        stock_calls=engine.counts[STOCK],
        cuda_graphs=0 if runner is None else len(runner.graphs),
        cuda_graph_bytes=0 if runner is None else runner.graphs.num_bytes,
        buffer_bytes=0 if runner is None else runner.num_bytes,
        name=name,
        matmul_precision=_matmul_precision(weights),
        weight_copy_bytes=0 if weights is None else weights.copy_bytes,
        ops=_ops(weights, call),
        fault=None if fault is None else fault.reason,
        advice=None if engine.preparation.last is None else engine.preparation.last.choice.advice,
    )


def _matmul_precision(weights: EncoderWeights | None) -> str | None:
    if weights is None or weights.dtype != torch.float32:
        return None
    return weights.precision or weights.backend.float32_precision()


def _ops(weights: EncoderWeights | None, call: Call) -> dict[str, str]:
    """Who computes each step of a fast call."""
    if weights is None or call.path != FAST:
        return {}
    layer, ops = weights.layers[0], weights.backend.ops
    return {
        "embedding": ops,
        "linear": weights.linear.name,
        "attention": weights.backend.attention_by(layer.qkv.dtype),
        "activation": layer.intermediate.activation or ops,
        "norm": layer.output.norm or ops,
    }
