"""Tell which path calls took, and why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from bertfast.engine import PROBING, Engine, Probed
from bertfast.errors import UnsupportedModelError
from bertfast.models.encoders import encoders_of, root_of
from bertfast.reporting import FAST, STOCK, Call, Report
from bertfast.weights import EncoderWeights


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
        fast_calls=engine.counts[FAST],
        stock_calls=engine.counts[STOCK],
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
