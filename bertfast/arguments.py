"""Which arguments of a call the fast path serves, and which are left to stock transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bertfast import compat

# Arguments that change nothing in an encoder; the Trainer and sentence-transformers send the last three.
_IGNORED = ("use_cache", "return_dict", "num_items_in_batch", "sentence_embedding", "token_embeddings")
_SERVED = (
    "input_ids",
    "attention_mask",
    "token_type_ids",
    "position_ids",
    "inputs_embeds",
    "output_hidden_states",
    "output_attentions",
)
_IDS = ("input_ids", "token_type_ids", "position_ids")


def argument_reason(model: Any, arguments: Mapping[str, Any]) -> str | None:
    """What the arguments of a call ask for that the fast path does not do, or None."""
    for name, value in arguments.items():
        if value is not None and name not in _SERVED and name not in _IGNORED:
            return name
    if compat.chosen(arguments, "output_attentions", model.config.output_attentions):
        return "output_attentions"
    if not isinstance(hidden_states_wanted(model, arguments), bool | None):
        return "selected output_hidden_states"
    for name in (*_IDS, "attention_mask", "inputs_embeds"):
        value = arguments.get(name)
        if isinstance(value, Tensor):
            reason = _tensor_reason(name, value)
            if reason is not None:
                return reason
    return _shape_reason(arguments)


def hidden_states_wanted(model: Any, arguments: Mapping[str, Any]) -> Any:
    """The call's ``output_hidden_states``, else the config's; transformers 5 also takes layer indices."""
    return compat.chosen(arguments, "output_hidden_states", model.config.output_hidden_states)


def _tensor_reason(name: str, value: Tensor) -> str | None:
    if type(value) is not Tensor and type(value) is not nn.Parameter:
        return f"{name} is a {type(value).__name__}"
    if value.is_meta or value.layout is not torch.strided or value.is_nested:
        return f"{name} on {value.device}, {value.layout}"
    return None


def _shape_reason(arguments: Mapping[str, Any]) -> str | None:
    """Shapes that some versions of transformers broadcast and others refuse are left to the installed one."""
    mask = arguments.get("attention_mask")
    if isinstance(mask, Tensor):
        if mask.dim() != 2:
            return f"{mask.dim()}-D attention_mask"
        if mask.shape[0] == 1 < _given_shape(arguments)[0]:
            return "attention_mask of one row"
    for name in ("token_type_ids", "position_ids"):
        ids = arguments.get(name)
        if isinstance(ids, Tensor) and ids.dim() != 2:
            return f"{ids.dim()}-D {name}"
        if isinstance(ids, Tensor) and ids.shape[1] == 1 < _given_shape(arguments)[1]:
            return f"{name} of one column"
    return None


def _given_shape(arguments: Mapping[str, Any]) -> tuple[int, int]:
    """Batch and length of what the call embeds; zeros if that has no such shape, which `check_inputs` refuses."""
    given = arguments.get("input_ids")
    given = arguments.get("inputs_embeds") if given is None else given
    return (given.shape[0], given.shape[1]) if isinstance(given, Tensor) and given.dim() > 1 else (0, 0)
