"""The inputs of a call, checked before anything runs and brought to one form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bertfast import compat
from bertfast.errors import InputRangeError, InputShapeError, InputTypeError
from bertfast.weights import EncoderSpec

_ID_DTYPES = (torch.int64, torch.int32)


@dataclass(frozen=True)
class EncoderInputs:
    """Checked inputs: exactly one of input_ids [B, S] and inputs_embeds [B, S, H]; the others [B, S] or None."""

    batch_size: int
    padded_len: int
    device: torch.device
    input_ids: Tensor | None
    inputs_embeds: Tensor | None
    attention_mask: Tensor | None
    token_type_ids: Tensor | None
    position_ids: Tensor | None


def check_inputs(arguments: Mapping[str, Any], spec: EncoderSpec, device: torch.device) -> EncoderInputs:
    """Check the tensors of a call against the model on ``device``; no value is read, which may mean to wait.

    The tensors may all be on the model's device, or all on the CPU. Raises InputShapeError or InputTypeError naming
    the argument, what was given and what is allowed.
    """
    input_ids, inputs_embeds = arguments.get("input_ids"), arguments.get("inputs_embeds")
    if (input_ids is None) == (inputs_embeds is None):
        given = "neither" if input_ids is None else "both"
        raise InputShapeError(f"input_ids, inputs_embeds: expected exactly one of them, got {given}")
    embedded = inputs_embeds if input_ids is None else input_ids
    if isinstance(embedded, Tensor) and embedded.device.type == "cpu":
        device = embedded.device
    size = _embeds_size(embedded, spec, device) if input_ids is None else _ids_size(embedded, device)
    batch_size, padded_len = size
    if batch_size == 0 or padded_len == 0:
        raise InputShapeError(f"inputs: expected at least one text of one token, got a batch of {list(size)}")
    position_ids = _check_grid("position_ids", arguments.get("position_ids"), size, device)
    token_type_ids = _check_grid("token_type_ids", arguments.get("token_type_ids"), size, device)
    _check_defaults(position_ids, token_type_ids, padded_len, spec)
    attention_mask = arguments.get("attention_mask")
    if attention_mask is not None:
        _check_tensor("attention_mask", attention_mask, device)
        attention_mask = _expand("attention_mask", attention_mask, size)
    return EncoderInputs(
        batch_size, padded_len, device, input_ids, inputs_embeds, attention_mask, token_type_ids, position_ids
    )


def check_ranges(inputs: EncoderInputs, spec: EncoderSpec) -> None:
    """Read the ids. Raises InputRangeError naming one that its table does not have."""
    _check_range("input_ids", inputs.input_ids, spec.vocab_size, "the vocabulary")
    _check_range("token_type_ids", inputs.token_type_ids, spec.num_token_types, "the token types")
    _check_range("position_ids", inputs.position_ids, spec.max_positions, "the positions")


def _ids_size(input_ids: Any, device: torch.device) -> torch.Size:
    """[B, S] of checked ids."""
    _check_tensor("input_ids", input_ids, device)
    if input_ids.dim() != 2:
        raise InputShapeError(f"input_ids: expected [batch, length], got {list(input_ids.shape)}")
    _check_ids("input_ids", input_ids, device)
    size: torch.Size = input_ids.shape
    return size


def _embeds_size(inputs_embeds: Any, spec: EncoderSpec, device: torch.device) -> torch.Size:
    """[B, S] of checked embeddings."""
    _check_tensor("inputs_embeds", inputs_embeds, device)
    if inputs_embeds.dim() != 3 or inputs_embeds.shape[2] != spec.hidden_size:
        raise InputShapeError(
            f"inputs_embeds: expected [batch, length, {spec.hidden_size}], got {list(inputs_embeds.shape)}"
        )
    size: torch.Size = inputs_embeds.shape[:2]
    return size


def _check_defaults(
    position_ids: Tensor | None, token_type_ids: Tensor | None, padded_len: int, spec: EncoderSpec
) -> None:
    """The model has defaults for the ids that are not given."""
    if position_ids is None and padded_len > spec.max_positions:
        raise InputShapeError(
            f"inputs: {padded_len} tokens, but the model has positions for {spec.max_positions}; truncate the "
            f"texts (tokenizer(..., truncation=True, max_length={spec.max_positions}))"
        )
    defaults = compat.default_token_types(spec.max_positions)
    if token_type_ids is None and defaults is not None and padded_len > defaults:
        raise InputShapeError(
            f"token_type_ids: there are defaults for {defaults} tokens, and the inputs have {padded_len}; give them"
        )


def _check_tensor(name: str, value: Any, device: torch.device) -> None:
    if not isinstance(value, Tensor):
        raise InputTypeError(f'{name}: expected a torch.Tensor, got {type(value).__name__}; use return_tensors="pt"')
    if value.device != device:
        raise InputTypeError(f"{name}: on {value.device}, but the model is on {device}; move one of them")


def _check_ids(name: str, value: Any, device: torch.device) -> None:
    _check_tensor(name, value, device)
    if value.dtype not in _ID_DTYPES:
        raise InputTypeError(f"{name}: expected torch.int64 or torch.int32, got {value.dtype}")


def _check_grid(name: str, value: Any, size: torch.Size, device: torch.device) -> Tensor | None:
    if value is None:
        return None
    _check_ids(name, value, device)
    return _expand(name, value, size)


def _expand(name: str, value: Tensor, size: torch.Size) -> Tensor:
    if value.shape == size:
        return value
    if value.dim() == 2 and value.shape[0] == 1 and value.shape[1] == size[1]:
        return value.expand(size)
    raise InputShapeError(f"{name}: expected {list(size)} as the inputs have, got {list(value.shape)}")


def _check_range(name: str, ids: Tensor | None, limit: int, table: str) -> None:
    if ids is None:
        return
    low, high = (int(bound) for bound in torch.aminmax(ids))
    if low < 0 or high >= limit:
        raise InputRangeError(
            f"{name}: found {low if low < 0 else high}, but the ids of {table} of this model go from 0 to {limit - 1}; "
            "is this the model's own tokenizer?"
        )
