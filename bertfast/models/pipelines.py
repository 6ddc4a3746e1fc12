"""transformers' ``pipeline``, around an accelerated model."""

from __future__ import annotations

import functools
from typing import Any

import transformers

from bertfast.models.auto import accelerated


@functools.wraps(transformers.pipeline)
def pipeline(*args: Any, **kwargs: Any) -> Any:
    made = transformers.pipeline(*args, **kwargs)
    accelerated(getattr(made, "model", None))
    return made
