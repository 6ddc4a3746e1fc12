"""A small real task: which module of the standard library does a docstring come from?"""

from __future__ import annotations

import decimal
import functools
import os
import shutil
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import torch
import transformers
from torch import Tensor, nn

_MODULES = (decimal, os, shutil)
NUM_LABELS = len(_MODULES)
_TOKENS = 32


@functools.cache
def _docstrings(module: ModuleType) -> tuple[str, ...]:
    owners = [module, *(value for _, value in sorted(vars(module).items()) if isinstance(value, type))]
    documented = (value.__doc__ for owner in owners for value in vars(owner).values() if callable(value))
    # Shorter ones are said of any method of any class.
    return tuple(sorted({" ".join(text.split()) for text in documented if isinstance(text, str) and len(text) > 80}))


def labelled(part: str) -> list[tuple[str, int]]:
    """Texts and labels: ``"train"`` has 16 of each module, ``"test"`` the next 6."""
    rows: slice = slice(0, 16) if part == "train" else slice(16, 22)
    return [(text, i) for i, module in enumerate(_MODULES) for text in _docstrings(module)[rows]]


def examples(tokenizer: Any, part: str) -> list[dict[str, Any]]:
    """The same, tokenized, unpadded."""
    texts = labelled(part)
    return [{**tokenizer(text, truncation=True, max_length=_TOKENS), "labels": label} for text, label in texts]


def batches(tokenizer: Any, part: str, seed: int = 0) -> Iterator[dict[str, Tensor]]:
    """Padded batches of 8, shuffled for training."""
    rows = examples(tokenizer, part)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).tolist()
    collate = transformers.DataCollatorWithPadding(tokenizer)
    for start in range(0, len(rows), 8):
        yield dict(collate([rows[i] for i in (order if part == "train" else range(len(rows)))[start : start + 8]]))


def train(model: nn.Module, tokenizer: Any, epochs: int = 2) -> list[float]:
    """The plain loop: AdamW, dropout, clipping; returns the losses."""
    torch.manual_seed(1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-4)
    losses = []
    model.train()
    for epoch in range(epochs):
        for batch in batches(tokenizer, "train", epoch):
            loss = model(**batch).loss
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.item())
    return losses


@torch.no_grad()
def evaluate(model: nn.Module, tokenizer: Any) -> tuple[float, Tensor]:
    """(accuracy, logits) on the test part."""
    model.eval()
    parts = list(batches(tokenizer, "test"))
    logits = torch.cat([model(**batch).logits for batch in parts])
    labels = torch.cat([batch["labels"] for batch in parts])
    return (logits.argmax(1) == labels).double().mean().item(), logits
