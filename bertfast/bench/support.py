"""Whether bertfast would run a model at all: asked before hours are spent on timing it."""

from __future__ import annotations

import copy
from typing import Any

import torch
import transformers

import bertfast
from bertfast.errors import UnsupportedModelError
from bertfast.reporting import FAST


def why_not_accelerated(config: Any) -> str | None:
    """Why stock transformers would run the encoder of this config, on any device; None if bertfast would.

    A reduced precision, or a device, may be refused all the same.
    """
    with torch.device("meta"):  # of any size in no time: only its modules are looked at
        encoder = transformers.AutoModel.from_config(config)
    try:
        bertfast.accelerate(encoder)
    except UnsupportedModelError:
        return f"its encoder is {type(encoder).__name__}, and bertfast accelerates transformers' BertModel alone"
    small = bertfast.accelerate(
        transformers.AutoModel.from_config(_smallest(config), attn_implementation="sdpa").eval()
    )
    with torch.inference_mode():
        report = bertfast.explain(small, input_ids=torch.ones(1, 1, dtype=torch.long))
    return None if report.path == FAST else report.reason


def _smallest(config: Any) -> Any:
    """The same kind of model with one layer, where it has any, and few words: each layer is like the first."""
    small = copy.deepcopy(config)
    small.num_hidden_layers = min(1, small.num_hidden_layers)
    small.vocab_size = min(small.vocab_size, 2 + (small.pad_token_id or 0))
    return small
