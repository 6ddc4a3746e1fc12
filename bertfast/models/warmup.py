"""What the first calls of a model would have to wait for, done before them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from bertfast import engines
from bertfast.errors import FallbackError
from bertfast.graphs import Bucket, GraphLimits
from bertfast.models.bert import POOLED_HEAD_CLASSES, reading
from bertfast.models.encoders import encoders_of, root_of
from bertfast.options import Reads
from bertfast.reporting import FAST


def warmup(model: Any, batch_size: int = 1, max_length: int = 128) -> int:
    """Prepare the weights and, on a GPU, capture the launches of every small batch that is not larger than this.

    model: what `accelerate` takes, or a class of bertfast's own; batch_size: texts; max_length: tokens of the longest.
    Later batches up to that size capture nothing any more, unless the limits of `GraphLimits` do not hold them all,
    which is logged. Returns the number of graphs captured. Raises ValueError for sizes that the model does not take,
    FallbackError if the model runs stock transformers, and UnsupportedModelError if it holds no accelerated encoder.
    """
    root = root_of(model)
    return sum(_warm_up(encoder, _reads(root, encoder), batch_size, max_length) for encoder in encoders_of(root))


def _reads(root: nn.Module, encoder: nn.Module) -> Reads:
    """What the heads of an encoder read of it."""
    heads = [m for m in root.modules() if getattr(m, "bert", None) is encoder]
    return Reads.FIRST_TOKEN if heads and isinstance(heads[0], POOLED_HEAD_CLASSES) else Reads.TOKENS


def _warm_up(encoder: Any, reads: Reads, batch_size: int, max_length: int) -> int:
    limit = encoder.config.max_position_embeddings
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size: expected a whole number of at least 1, got {batch_size!r}")
    if not isinstance(max_length, int) or not 1 <= max_length <= limit:
        raise ValueError(f"max_length: expected a whole number of 1 to {limit}, got {max_length!r}")
    with torch.no_grad(), reading(encoder, reads):
        # Any token but padding will do.
        token = 0 if encoder.config.pad_token_id else 1
        encoder(input_ids=torch.full((1, max_length), token, device=encoder.device))
    engine = engines.of(encoder)
    call = engine.last
    assert call is not None
    if call.path != FAST:
        raise FallbackError(f"warmup: {type(encoder).__name__} runs stock transformers ({call.reason})")
    runner = engine.preparation.runner
    if runner is None or not engine.options.cuda_graphs:
        return 0
    return runner.capture_all(Bucket.up_to(batch_size, max_length, GraphLimits().max_rows), call.first_token_only)
