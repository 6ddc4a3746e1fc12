"""Texts as batches of token ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bertfast.cli.errors import UsageError
from bertfast.cli.texts import Text

# Above it, texts are of another language than the tokenizer's, or its vocabulary was not there to be loaded.
_MOST_UNKNOWN = 0.5
# Tokenizers that know no limit say 10^30.
_NO_LIMIT = 10**6


@dataclass(frozen=True)
class Encoded:
    """What the tokenizer made of each text, cut to ``max_length`` tokens. truncated: how many texts were longer."""

    inputs: tuple[dict[str, list[int]], ...]
    max_length: int
    truncated: int


def position_limit(tokenizer: Any, config: Any) -> int:
    """The most tokens that the model has positions for and the tokenizer gives."""
    limits = [getattr(config, "max_position_embeddings", None), tokenizer.model_max_length]
    return min((int(limit) for limit in limits if limit is not None and limit < _NO_LIMIT), default=_NO_LIMIT)


def encode(tokenizer: Any, texts: Sequence[Text], max_length: int) -> Encoded:
    """Each by itself: some may be pairs."""
    whole = [dict(tokenizer(text.text, text.pair)) for text in texts]
    long = [len(found["input_ids"]) > max_length for found in whole]
    inputs = [
        dict(tokenizer(text.text, text.pair, truncation=True, max_length=max_length)) if cut else found
        for text, found, cut in zip(texts, whole, long, strict=True)
    ]
    return Encoded(tuple(inputs), max_length, sum(long))


def check_vocabulary(tokenizer: Any, encoded: Encoded, config: Any) -> None:
    """Raise UsageError where the tokenizer is not the model's: then nothing that matters would be compared."""
    ids = [token for found in encoded.inputs for token in found["input_ids"]]
    size, special = getattr(config, "vocab_size", None), {*tokenizer.all_special_ids} - {tokenizer.unk_token_id}
    if size is not None and max(ids) >= size:
        raise UsageError(f"the tokenizer gives id {max(ids)}, the model has {size}: expected the model's own tokenizer")
    words = [token for token in ids if token not in special]
    unknown = words.count(tokenizer.unk_token_id) / max(1, len(words))
    if unknown > _MOST_UNKNOWN:
        raise UsageError(
            f"{unknown:.0%} of the tokens are unknown to the tokenizer: expected the model's own, with its vocabulary "
            "(tokenizer.json or vocab.txt), and texts in a language of the model"
        )


def padded(tokenizer: Any, encoded: Encoded, size: int, device: torch.device) -> Iterator[dict[str, Tensor]]:
    """In the order of the texts, ``size`` at a time, padded to the longest of each batch."""
    for start in range(0, len(encoded.inputs), size):
        batch = tokenizer.pad(list(encoded.inputs[start : start + size]), return_tensors="pt")
        yield {name: values.to(device) for name, values in batch.items()}
