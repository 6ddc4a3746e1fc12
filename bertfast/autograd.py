"""Gradients of the fast forward: its backward runs stock transformers again, with a graph.

Scripts that forget ``torch.no_grad()`` are the rule, so a forward with gradients enabled must be fast too; the
few that do call ``backward`` get exactly the gradients of stock transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bertfast.errors import StaleGraphError
from bertfast.guard import Snapshot

# Stock keeps these as they are and notices an in-place change; it keeps a copy of the mask.
_KEPT = ("input_ids", "token_type_ids", "position_ids")


@dataclass(frozen=True)
class StockForward:
    """How to get the outputs of a fast forward from stock transformers.

    first_token_only: the outputs hold one token of each sequence. visible: [B, S, 1] bool, where the outputs are not
    constant zeros, or None if nowhere.
    """

    model: nn.Module
    forward: Callable[..., Any]
    arguments: Mapping[str, Any]
    snapshot: Snapshot
    first_token_only: bool
    visible: Tensor | None

    def inputs(self) -> tuple[Tensor, ...]:
        """What requires gradients: parameters, and embeddings that were given."""
        found = [p for p in self.snapshot.parameters.values() if p.requires_grad]
        embeds = self.arguments.get("inputs_embeds")
        return (*found, embeds) if embeds is not None and embeds.requires_grad else tuple(found)

    def outputs(self, inputs: Sequence[Tensor], stand_ins: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The outputs, computed from ``stand_ins`` in the place of ``inputs``."""
        replaced = dict(zip(map(id, inputs), stand_ins, strict=True))
        arguments = {name: replaced.get(id(value), value) for name, value in self.arguments.items()}
        with _as_in_forward(self.model, replaced):
            output = self.forward(self.model, **{**arguments, "return_dict": True})
        if self.first_token_only:
            return (output.last_hidden_state[:, :1],)
        states = output.hidden_states or ()
        return (output.last_hidden_state, *states[:-1])


def differentiable(run: Callable[[], tuple[Tensor, ...]], stock: StockForward) -> tuple[Tensor, ...]:
    """The outputs of ``run()``, differentiable to any order with respect to ``stock.inputs()``."""
    inputs = stock.inputs()
    if not inputs:
        with torch.no_grad():
            return run()
    return _StockBackward.apply(run, stock, *inputs)  # type: ignore[no-any-return, no-untyped-call]


class _StockBackward(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, run: Callable[[], tuple[Tensor, ...]], stock: StockForward, *inputs: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.stock, ctx.num_inputs = stock, len(inputs)
        ctx.set_materialize_grads(False)
        # Saved so that autograd notices an in-place change between forward and backward, as it does for stock.
        kept = [stock.arguments.get(name) for name in _KEPT]
        ctx.save_for_backward(*inputs, *(ids for ids in kept if ids is not None))
        return run()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        stock: StockForward = ctx.stock
        inputs = ctx.saved_tensors[: ctx.num_inputs]
        if not stock.snapshot.same_objects():
            raise StaleGraphError(
                "backward: parameters of the model were replaced since the forward pass; run the forward again"
            )
        create_graph = torch.is_grad_enabled()
        with torch.enable_grad():
            # Differentiating with respect to views keeps hooks on the inputs for the outer graph, where they run once.
            stand_ins = [tensor.view_as(tensor) for tensor in inputs]
            outputs = stock.outputs(inputs, stand_ins)
            pairs = [(o, g) for o, g in zip(outputs, gradients, strict=True) if g is not None]
            if stock.visible is not None:
                pairs = [(o, g * stock.visible) for o, g in pairs]
        found = torch.autograd.grad(
            [o for o, _ in pairs],
            stand_ins,
            [g for _, g in pairs],
            create_graph=create_graph,
            allow_unused=True,
        )
        return (None, None, *found)


@contextmanager
def _as_in_forward(model: nn.Module, replaced: Mapping[int, Tensor]) -> Iterator[None]:
    """The model as it was in the forward that is repeated: in eval mode, without autocast, on stand-in parameters."""
    training = [m for m in model.modules() if m.training]
    slots = [
        (module._parameters, name, parameter)
        for module in model.modules()
        for name, parameter in module._parameters.items()
        if id(parameter) in replaced
    ]
    try:
        for module in training:
            module.training = False
        for parameters, name, parameter in slots:
            parameters[name] = replaced[id(parameter)]  # type: ignore[assignment]
        with torch.autocast("cpu", enabled=False):
            yield
    finally:
        for parameters, name, parameter in slots:
            parameters[name] = parameter
        for module in training:
            module.training = True
