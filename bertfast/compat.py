"""Where the supported versions of transformers differ, the installed one decides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPoolingAndCrossAttentions as ModelOutput

TRANSFORMERS_5 = int(transformers.__version__.split(".", 1)[0]) >= 5


def mask_reading(dtype: torch.dtype) -> torch.dtype | None:
    """How a 2-D mask is read, as ``one_in`` of `bertfast.ops.unpad_input`, for a model of ``dtype``.

    transformers 5 reads it as a bool; 4.57 masks what is not exactly 1 in the model's dtype.
    """
    return None if TRANSFORMERS_5 else dtype


def has_to_read(mask: Tensor, attention: str) -> bool:
    """Whether `unusual_mask` depends on the mask's values."""
    return not TRANSFORMERS_5 and attention == "eager" and mask.dtype != torch.bool


def unusual_mask(mask: Tensor, dtype: torch.dtype, attention: str) -> str | None:
    """What a 2-D mask asks for beyond hiding positions, or None.

    Eager attention of 4.57 adds ``(1 - mask) * lowest`` to the scores: a value above 1 outweighs every score.
    """
    if not has_to_read(mask, attention):
        return None
    return None if bool((mask.to(dtype) <= 1).all()) else "attention_mask values above 1"


def warn_of_missing_mask(model: Any, input_ids: Tensor) -> None:
    """4.57 says so, once, when ids end in padding and there is no mask."""
    if not TRANSFORMERS_5:
        model.warn_if_padding_and_no_attention_mask(input_ids, None)


def default_token_types(max_positions: int) -> int | None:
    """How many tokens have a default token type; None for any number. 4.57 cuts them from a buffer of that size."""
    return None if TRANSFORMERS_5 else max_positions


def register_recordable(model_class: type) -> None:
    """Make transformers' output capturing know a subclass of its models, as ``__init__`` would."""
    if TRANSFORMERS_5:
        from transformers.utils.output_capturing import _CAN_RECORD_REGISTRY
    else:
        from transformers.utils.generic import _CAN_RECORD_REGISTRY
    # The registry is keyed by str(class); its own __setitem__ wants an instance.
    dict.__setitem__(_CAN_RECORD_REGISTRY, str(model_class), getattr(model_class, "_can_record_outputs", None))


def chosen(arguments: Mapping[str, Any], name: str, default: Any) -> Any:
    """An argument of a call, or the config's ``default``: which 4.57 also takes for None, 5.x only for nothing."""
    if TRANSFORMERS_5:
        return arguments.get(name, default)
    value = arguments.get(name)
    return default if value is None else value


def wants_tuple(config: Any, arguments: Mapping[str, Any]) -> bool:
    """Whether the caller asked for a tuple rather than a ModelOutput."""
    wanted = chosen(arguments, "return_dict", config.return_dict if TRANSFORMERS_5 else config.use_return_dict)
    return wanted is not None and not wanted


def model_output(
    last_hidden_state: Tensor, pooled: Tensor | None, hidden_states: tuple[Tensor, ...] | None, as_tuple: bool
) -> ModelOutput | tuple[Any, ...]:
    """What ``BertModel.forward`` returns, as the installed version returns it."""
    output = ModelOutput(last_hidden_state=last_hidden_state, pooler_output=pooled, hidden_states=hidden_states)
    if not as_tuple:
        return output
    if TRANSFORMERS_5:
        return output.to_tuple()
    # 4.57 keeps the pooler's place in the tuple when there is no pooler.
    rest = () if hidden_states is None else (hidden_states,)
    return (last_hidden_state, pooled, *rest)
