"""A step of fine-tuning under DistributedDataParallel, in this process or in one of several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import bertfast
from compatibility.bench import Bench, assert_same, plain, same_gradients


def compare(stock: Any, fast: Any, batch: dict[str, Any]) -> None:
    """In training mode and in eval mode, gradients and logits of both are equal."""
    labels = torch.arange(len(batch["input_ids"])) % 2
    wrapped = [DistributedDataParallel(model) for model in (stock, fast)]

    def loss(model: nn.Module) -> torch.Tensor:
        torch.manual_seed(1)
        return model(**batch, labels=labels).loss

    for training in (True, False):
        for model in wrapped:
            model.train(training)
        same_gradients(loss, *wrapped)
    assert_same(*(plain(batch)(model) for model in reversed(wrapped)))


@contextmanager
def group(folder: Path, rank: int, world_size: int) -> Iterator[None]:
    """A group of processes that meet in a folder."""
    store = torch.distributed.FileStore(str(folder / "store"), world_size)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=world_size)
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


def compare_in_group(bench: Bench, rank: int, world_size: int) -> None:
    """`compare` in this process."""
    pair = bench.pair("BertForSequenceClassification")
    with group(bench.folder, rank, world_size):
        compare(pair.stock, pair.fast, bench.batch())


def compare_rank(rank: int, world_size: int, folder: Path) -> None:
    """The same in a process of its own, each rank with other rows; leaves what bertfast counted in a file."""
    torch.set_num_threads(1)
    stock, fast, batch = torch.load(folder / "models.pt", weights_only=False)
    with group(folder, rank, world_size):
        compare(stock, fast, {name: value[rank::world_size] for name, value in batch.items()})
    torch.save(Counter(bertfast.stats()), folder / f"calls{rank}.pt")
