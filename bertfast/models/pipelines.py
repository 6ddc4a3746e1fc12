"""transformers' ``pipeline``, around an accelerated model."""

from __future__ import annotations

import functools
from typing import Any

import transformers
from torch import nn

from bertfast.models.accelerate import accelerate_what_is_stock
from bertfast.models.encoders import holds_encoder


@functools.wraps(transformers.pipeline)
def pipeline(*args: Any, **kwargs: Any) -> Any:
    made = transformers.pipeline(*args, **kwargs)
    model = getattr(made, "model", None)
    return accelerate_what_is_stock(made) if isinstance(model, nn.Module) and holds_encoder(model) else made
