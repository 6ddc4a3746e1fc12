"""What the first calls of a model would have to wait for, done before them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from bertfast.engine import Engine
from bertfast.graphs import bucket_lengths
from bertfast.models.accelerate import encoders_of, root_of
from bertfast.models.bert import POOLED_HEADS, reading
from bertfast.options import Reads
from bertfast.runner import WARMING


def warmup(model: Any, batch_size: int = 1, max_length: int = 128) -> int:
    """Prepare the weights and, on a GPU, record the launches of all small batches that are not larger than this.

    model: what `accelerate` takes, or a class of bertfast's own; batch_size: texts; max_length: tokens of the longest.
    Later batches up to that size record nothing any more. Returns the number of recordings made. Raises ValueError
    for sizes that the model does not take, and UnsupportedModelError if it holds no accelerated encoder.
    """
    root = root_of(model)
    return sum(_warm_up(root, encoder, batch_size, max_length) for encoder in encoders_of(root))


def _warm_up(root: nn.Module, encoder: Any, batch_size: int, max_length: int) -> int:
    limit = encoder.config.max_position_embeddings
    if batch_size < 1:
        raise ValueError(f"batch_size: expected at least 1, got {batch_size}")
    if not 1 <= max_length <= limit:
        raise ValueError(f"max_length: expected 1 to {limit}, got {max_length}")
    reads = Reads.FIRST_TOKEN if isinstance(root, POOLED_HEADS) else Reads.TOKENS
    with torch.no_grad(), reading(encoder, reads):
        _call(encoder, [max_length])  # prepares the weights
        engine = Engine.of(encoder)
        if engine.graphs is None or not engine.options.cuda_graphs:
            return 0
        before = engine.graphs.num_recorded
        token = WARMING.set(True)
        try:
            for lengths in bucket_lengths(batch_size, max_length, engine.graphs.limits.max_rows):
                _call(encoder, lengths)
        finally:
            WARMING.reset(token)
        return engine.graphs.num_recorded - before


def _call(encoder: Any, lengths: list[int]) -> None:
    columns = torch.arange(max(lengths))
    mask = (columns < torch.tensor(lengths).unsqueeze(1)).long().to(encoder.device)
    # Any token but padding will do.
    ids = mask if encoder.config.pad_token_id == 0 else torch.where(mask > 0, 0, encoder.config.pad_token_id or 0)
    encoder(input_ids=ids, attention_mask=mask)
