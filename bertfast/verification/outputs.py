"""The outputs of a model, cut into what each text has of them, without padding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

# [B, S]: a class for each token.
_SPANS = ("start_logits", "end_logits")
_CLASSES = (*_SPANS, "logits", "prediction_logits", "seq_relationship_logits")
#: The mean over a text's tokens, of which most embedding models make theirs; not an output of the model itself.
POOLED = "mean of the tokens"


def by_text(output: Mapping[str, Any], mask: Tensor) -> dict[str, list[Tensor]]:
    """For each output, by name, the vectors of each text: [vectors, width].

    A vector for each token, or one for the text; of start and end logits, one over the tokens. mask: [B, S], 1 for
    real tokens.
    """
    found = {
        name: [_vectors(name, row, real) for row, real in zip(x, mask.bool(), strict=True)]
        for name, x in _tensors(output)
    }
    if "last_hidden_state" in found:
        found[POOLED] = [tokens.double().mean(0, keepdim=True) for tokens in found["last_hidden_state"]]
    return found


def has_classes(name: str) -> bool:
    """Whether the largest value of a vector is a choice."""
    return name in _CLASSES


def _tensors(output: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    for name, value in output.items():
        if isinstance(value, Tensor) and value.dim() > 0 and value.is_floating_point():
            yield name, value
        elif name == "hidden_states":
            yield from ((f"{name}[{index}]", part) for index, part in enumerate(value))


def _vectors(name: str, row: Tensor, real: Tensor) -> Tensor:
    if row.dim() == 2:
        return row[real]
    return (row[real] if name in _SPANS else row).reshape(1, -1)
