"""10,000 random shapes, or as many as there is time for: right results, and memory that does not grow."""

from __future__ import annotations

import os
import random
import time

import torch
from torch import nn

from bertfast import engines
from gpu.conftest import encoder_of
from gpu.targets import Target

_SHAPES = 10_000
# After so many of the shapes of a run, every bucket has been met that will be captured.
_SETTLED = 0.5
# What a driver takes and gives back behind everybody's back.
_SLACK_BYTES = 64 << 20


def _without_graphs(target: Target, fast: nn.Module) -> int:
    """Bytes in use but for the graphs' pool, which has a limit of its own."""
    used, graphs = target.memory_bytes(), engines.of(encoder_of(fast)).preparation.graphs
    if used is None or graphs is None:
        return 0
    pool = graphs.pool.num_bytes()
    assert pool <= graphs.limits.max_bytes + _SLACK_BYTES, f"{pool} bytes of graphs"
    return used - pool


@torch.no_grad()
def test_memory_is_flat(make_config, make_pair, make_batch, to_target, target, record_property):
    seconds = float(os.environ.get("BERTFAST_SOAK_SECONDS", "60"))
    config = make_config("gelu_new-2x2x64", max_position_embeddings=512)
    pair = make_pair("BertForSequenceClassification", config, torch.float16)
    generator = random.Random(0)

    def call(step: int, check: bool = False) -> None:
        # Both small batches, which are captured, and large ones.
        lengths = [generator.randint(1, 512) for _ in range(generator.randint(1, 16))]
        batch = to_target(make_batch(config, lengths, generator.choice(["right", "left", "holed"]), step))
        (pair.check if check else pair.fast)(**batch)

    start, settled, steps = time.monotonic(), None, 0
    while steps < _SHAPES and time.monotonic() - start < seconds:
        call(steps, check=steps % 100 == 0)
        steps += 1
        if settled is None and max(steps / _SHAPES, (time.monotonic() - start) / seconds) > _SETTLED:
            settled = _without_graphs(target, pair.fast)
    target.finish()
    record_property("shapes", steps)
    print(f"{steps} shapes")
    assert steps >= 10
    engine = engines.of(encoder_of(pair.fast))
    graphs = engine.preparation.graphs
    assert graphs is not None
    assert len(graphs) <= graphs.limits.max_graphs
    assert graphs.num_bytes <= graphs.limits.max_bytes
    assert len(engine._deferred) <= 1
    if settled is not None:
        grown = _without_graphs(target, pair.fast) - settled
        assert grown <= _SLACK_BYTES, f"{grown} bytes more than half-way"
