"""What the heads need beside the encoder's inputs: which classes there are, and labels for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Batch = dict[str, Tensor]


def _per_row(batch: Batch, limit: int = 2) -> Tensor:
    return torch.arange(len(batch["input_ids"])) % limit


def _per_token(batch: Batch, limit: int) -> Tensor:
    # On padding too: stock computes a loss there unless the label is -100.
    labels = (batch["input_ids"] * 5 + 1) % limit
    labels[:, ::3] = -100
    return labels


#: Class name -> the labels of a batch, by the arguments' names.
LABELS: dict[str, Callable[[Batch], Batch]] = {
    "BertModel": lambda batch: {},
    "BertForSequenceClassification": lambda batch: {"labels": _per_row(batch)},
    "BertForNextSentencePrediction": lambda batch: {"labels": _per_row(batch)},
    "BertForMultipleChoice": lambda batch: {"labels": _per_row(batch, 3)},
    "BertForTokenClassification": lambda batch: {"labels": _per_token(batch, 2)},
    "BertForQuestionAnswering": lambda batch: {
        "start_positions": _per_row(batch),
        # The last column, mostly padding, and one beyond it, which stock ignores.
        "end_positions": batch["input_ids"].shape[1] - 1 + _per_row(batch),
    },
    "BertForMaskedLM": lambda batch: {"labels": _per_token(batch, 97)},
    "BertLMHeadModel": lambda batch: {"labels": _per_token(batch, 97)},
    "BertForPreTraining": lambda batch: {
        "labels": _per_token(batch, 97),
        "next_sentence_label": _per_row(batch),
    },
}

CLASSES = list(LABELS)
#: Classes that read the pooled output only, so that padding cannot be seen through them.
POOLED = ("BertForSequenceClassification", "BertForNextSentencePrediction", "BertForMultipleChoice")


def choices(batch: Batch) -> Batch:
    """[B, S, ...] -> [B, 3, S, ...]: each row beside the next two, as multiple choice wants them."""
    return {name: torch.stack([value, value.roll(1, 0), value.roll(2, 0)], 1) for name, value in batch.items()}


def call_inputs(class_name: str, batch: Batch, labels: bool = False) -> dict[str, Any]:
    """The batch in the shape this class wants, with labels if asked for."""
    shaped = choices(batch) if class_name == "BertForMultipleChoice" else batch
    return {**shaped, **(LABELS[class_name](batch) if labels else {})}
