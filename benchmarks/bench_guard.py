"""What the guard costs per call on BERT-base: the checks that decide whether a call may take the fast path.

    python benchmarks/bench_guard.py

The model is narrow but has BERT-base's 12 layers and so its 197 parameters and 224 modules; the guard reads no values.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
import transformers

import bertfast
from bertfast import engines
from bertfast.engine import Engine
from bertfast.environment.describe import summary as environment


def median_us(call: Callable[[], object], repeats: int = 2000) -> float:
    """Median CPU time of a call in microseconds."""
    for _ in range(100):
        call()
    taken = []
    for _ in range(repeats):
        start = time.process_time_ns()
        call()
        taken.append(time.process_time_ns() - start)
    return statistics.median(taken) / 1e3


def main() -> None:
    """Measure and print one line."""
    torch.set_num_threads(1)
    print(", ".join(f"{key} {value}" for key, value in environment().items()))
    config = transformers.BertConfig(hidden_size=48, intermediate_size=192)
    arguments = {"input_ids": torch.ones(1, 8, dtype=torch.long), "attention_mask": torch.ones(1, 8)}
    model = bertfast.accelerate(transformers.BertModel(config).eval())
    model(**arguments)
    first, later = cost_us(engines.of(model), model, arguments)
    print(f"guard: {later:.0f} us per call, {first:.0f} us when the weights have moved")


def cost_us(engine: Engine, model: torch.nn.Module, arguments: dict[str, torch.Tensor]) -> tuple[float, float]:
    """Median cost of admitting a call that must prepare the weights, and of any later one."""

    def afresh() -> None:
        engine.preparation.reset()
        engine.admit(model, arguments)

    return median_us(afresh, 50), median_us(lambda: engine.admit(model, arguments))


if __name__ == "__main__":
    main()
