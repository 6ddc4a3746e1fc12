"""Gradients of the fast forward: its backward runs stock transformers again, with a graph.

Scripts that forget ``torch.no_grad()`` are the rule, so a forward with gradients enabled must be fast too; the
few that do call ``backward`` get exactly the gradients of stock transformers.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bertfast.errors import StaleGraphError
from bertfast.guard import Snapshot
from bertfast.hooks import HOOKS

# Stock keeps these as they are and notices an in-place change; it keeps a copy of the mask.
_KEPT = ("input_ids", "token_type_ids", "position_ids")
_EMBEDS = "inputs_embeds"


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

    def inputs(self) -> dict[str, Tensor]:
        """What requires gradients, by name: parameters, and embeddings that were given."""
        found: dict[str, Tensor] = {name: p for name, p in self.snapshot.parameters.items() if p.requires_grad}
        embeds = self.arguments.get(_EMBEDS)
        if embeds is not None and embeds.requires_grad:
            found[_EMBEDS] = embeds
        return found

    def outputs(self, stand_ins: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """The outputs, computed from ``stand_ins`` in the place of the inputs of these names."""
        if not self.snapshot.same_modules():
            raise StaleGraphError(
                "backward: modules of the model were replaced since the forward pass; run the forward again"
            )
        arguments = {**self.arguments, "return_dict": True}
        if _EMBEDS in stand_ins:
            arguments[_EMBEDS] = stand_ins[_EMBEDS]
        output = self.forward(_shadow(self.model, {**self.snapshot.parameters, **stand_ins}), **arguments)
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
    return _StockBackward.apply(  # type: ignore[no-any-return, no-untyped-call]
        run, stock, tuple(inputs), *inputs.values()
    )


class _StockBackward(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, run: Callable[[], tuple[Tensor, ...]], stock: StockForward, names: tuple[str, ...], *inputs: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.stock, ctx.names = stock, names
        ctx.set_materialize_grads(False)
        # Saved so that autograd notices an in-place change between forward and backward, as it does for stock.
        kept = [stock.arguments.get(name) for name in _KEPT]
        ctx.save_for_backward(*inputs, *(ids for ids in kept if ids is not None))
        return run()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        stock: StockForward = ctx.stock
        inputs = ctx.saved_tensors[: len(ctx.names)]
        create_graph = torch.is_grad_enabled()
        # The surroundings of a backward pass do not change what the forward has computed.
        with torch.enable_grad(), torch.autocast(inputs[0].device.type, enabled=False):
            # Differentiating with respect to views keeps hooks on the inputs for the outer graph, where they run once.
            stand_ins = [tensor.view_as(tensor) for tensor in inputs]
            outputs = stock.outputs(dict(zip(ctx.names, stand_ins, strict=True)))
            # An output that depends on nothing that is trained has no gradient to give.
            pairs = [(o, g) for o, g in zip(outputs, gradients, strict=True) if g is not None and o.requires_grad]
            if not pairs:
                return (None,) * (3 + len(inputs))
            if stock.visible is not None:
                pairs = [(o, g * stock.visible) for o, g in pairs]
            found = torch.autograd.grad(
                [o for o, _ in pairs],
                stand_ins,
                [g for _, g in pairs],
                create_graph=create_graph,
                allow_unused=True,
            )
        return (None, None, None, *found)


def _shadow(module: nn.Module, parameters: Mapping[str, Tensor], prefix: str = "") -> nn.Module:
    """A copy of the module tree in eval mode that holds ``parameters``, without hooks and without the pooler.

    The model itself stays as it is: other threads may be using it.
    """
    shadow = object.__new__(type(module))
    shadow.__dict__ = {
        **module.__dict__,
        "training": False,
        "_parameters": {name: parameters.get(prefix + name, p) for name, p in module._parameters.items()},
        "_modules": {
            name: None if child is None or name == "pooler" else _shadow(child, parameters, f"{prefix}{name}.")
            for name, child in module._modules.items()
        },
        **{kind: OrderedDict() for kind in HOOKS},
    }
    # transformers puts its own hooks on the shadow when hidden states are asked for.
    shadow.__dict__.pop("_output_capturing_hooks_installed", None)
    return shadow
