"""What a call will compute, decided before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bertfast import compat
from bertfast.arguments import hidden_states_wanted
from bertfast.autograd import StockForward
from bertfast.families import Refused
from bertfast.families import bert as family
from bertfast.inputs import EncoderInputs, check_inputs
from bertfast.options import Options, Reads
from bertfast.padding import Layout, computed_mask, lay_out
from bertfast.prepared import Prepared
from bertfast.released_parameter import holds_released


@dataclass(frozen=True)
class Plan:
    """captured: the caller captures a CUDA graph."""

    prepared: Prepared
    inputs: EncoderInputs
    layout: Layout
    first_token_only: bool
    wants_states: bool
    captured: bool


def plan_call(prepared: Prepared, model: Any, arguments: Mapping[str, Any], reads: Reads, options: Options) -> Plan:
    """Plan a call of a model that fits.

    Raises Refused with the reason if stock must run, and the errors of `check_inputs` and `lay_out` for bad input.
    """
    wants_states = bool(hidden_states_wanted(model, arguments))
    if torch.is_grad_enabled() and _requires_gradients(prepared, arguments):
        if wants_states:
            raise Refused("output_hidden_states with gradients")
        if holds_released(model):
            raise Refused("gradients, which are those of the original weights")
    first_token_only = reads is Reads.FIRST_TOKEN and not wants_states and family.reads_first_token(model.pooler)
    weights = prepared.weights
    captured = weights.backend.is_capturing()
    inputs = check_inputs(arguments, weights.spec, weights.device)
    if inputs.input_ids is not None and inputs.attention_mask is None and not captured:
        compat.warn_of_missing_mask(model, inputs.input_ids)
    drop = options.drops_padding(first_token_only or reads is Reads.TOKENS)
    layout = lay_out(inputs, weights, model.config._attn_implementation, drop, may_wait=not captured)
    return Plan(prepared, inputs, layout, first_token_only, wants_states, captured)


def stock_forward(
    plan: Plan, model: nn.Module, stock: Callable[..., Any], arguments: Mapping[str, Any]
) -> StockForward:
    """How stock transformers would compute the same, for a backward pass."""
    device = plan.prepared.weights.device
    kept = {name: value.to(device) if isinstance(value, Tensor) else value for name, value in arguments.items()}
    mask, embeds = arguments.get("attention_mask"), arguments.get("inputs_embeds")
    if mask is not None:
        kept["attention_mask"] = kept["attention_mask"].clone()
    if embeds is not None and not embeds.requires_grad:
        kept["inputs_embeds"] = kept["inputs_embeds"].clone()
    computed = None if plan.first_token_only else computed_mask(plan.inputs, plan.prepared.weights, plan.layout.drops)
    visible = None if computed is None else computed.unsqueeze(2)
    return StockForward(model, stock, kept, plan.prepared.snapshot, plan.first_token_only, visible)


def _requires_gradients(prepared: Prepared, arguments: Mapping[str, Any]) -> bool:
    """Whether anything that the encoder computes from requires gradients."""
    embeds = arguments.get("inputs_embeds")
    if isinstance(embeds, Tensor) and embeds.requires_grad:
        return True
    # Each question to a `ReleasedParameter` would go through Python.
    with torch._C.DisableTorchFunctionSubclass():
        return any(parameter.requires_grad for parameter in prepared.snapshot.parameters.values())
