"""What training and deployment libraries wrap around a model."""

from __future__ import annotations

import pytest
import torch
import torch.distributed
import torch.multiprocessing
from torch.distributed.fsdp import fully_shard

from compatibility.behaviours import BOTH, FALLBACK, behaviour
from compatibility.bench import Bench, plain
from compatibility.ddp import compare_in_group, compare_rank, group

_GROUP = "Wrappers"
_CLASS = "BertForSequenceClassification"


@behaviour(_GROUP, "`DistributedDataParallel`, one process (gloo)", "all gradients, logits", BOTH)
def _ddp(bench: Bench) -> None:
    compare_in_group(bench, rank=0, world_size=1)


@behaviour(_GROUP, "`DistributedDataParallel`, two processes (gloo)", "all gradients, logits", BOTH, slow=True)
def _ddp_of_two(bench: Bench) -> None:
    pair = bench.pair(_CLASS)
    torch.save((pair.stock, pair.fast, bench.batch()), bench.folder / "models.pt")
    torch.multiprocessing.spawn(compare_rank, (2, bench.folder), nprocs=2)
    for rank in range(2):
        bench.elsewhere += torch.load(bench.folder / f"calls{rank}.pt", weights_only=False)


@behaviour(_GROUP, "`fully_shard` (FSDP), one process", "all outputs", FALLBACK)
def _fsdp(bench: Bench) -> None:
    pair, batch = bench.pair(_CLASS), bench.batch()
    with group(bench.folder, 0, 1):
        mesh = torch.distributed.init_device_mesh("cpu", (1,))
        for model in (pair.stock, pair.fast):
            for block in model.bert.encoder.layer:
                fully_shard(block, mesh=mesh)
            fully_shard(model, mesh=mesh)
        bench.same(plain(batch), pair.stock, pair.fast)


@behaviour(_GROUP, "accelerate's `Accelerator.prepare`: a step, then evaluation", "loss, all outputs", BOTH)
def _accelerator(bench: Bench) -> None:
    accelerate = pytest.importorskip("accelerate", reason="needs accelerate")
    pair, batch = bench.pair(_CLASS), bench.batch()
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = accelerate.Accelerator(cpu=True)
    losses = []
    for model in (pair.stock, pair.fast):
        prepared, optimizer = accelerator.prepare(model.train(), torch.optim.SGD(model.parameters(), lr=1e-2))
        loss = prepared(**batch, labels=torch.arange(5) % 2).loss
        accelerator.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    assert losses[1] == losses[0]
    bench.same(lambda model: plain(batch)(accelerator.unwrap_model(model).eval()), pair.stock, pair.fast)


@behaviour(_GROUP, "`torch.optim.swa_utils.AveragedModel` (EMA)", "all outputs")
def _averaged(bench: Bench) -> None:
    pair, batch = bench.pair(_CLASS), bench.batch()
    averaged = [torch.optim.swa_utils.AveragedModel(m).eval() for m in (pair.stock, pair.fast)]
    for model, average in zip((pair.stock, pair.fast), averaged, strict=True):
        average.update_parameters(model)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1.1)
        average.update_parameters(model)
    bench.same(plain(batch), *averaged)
