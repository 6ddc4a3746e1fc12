"""How much of a small batch's time is Python and dispatch, and not arithmetic.

    python benchmarks/bench_overhead.py [--precisions float32,bfloat16,int8] [--batch 1] [--lengths 32]
                                        [--rounds 50] [--threads 1] [--json FILE]

The same calls are made of BERT-base and of a model with as many layers and modules, but so narrow that next to nothing
is left to compute: the ops are launched, tensors made and checks run all the same. Its time by BERT-base's is the share
that is not arithmetic. It is an upper bound: something is computed in the narrow model, too.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers

import bertfast
from bertfast.bench.options import at_least, counts, names_of
from bertfast.bench.timing import Worker, as_json, interleaved, timing_of
from bertfast.bench.workloads import random_batch
from bertfast.environment.describe import summary as environment
from bertfast.environment.record import write_json
from bertfast.linear import missing
from bertfast.tables import table

PRECISIONS = ("float32", "bfloat16", "int8")
GOAL = 0.05
# 12 layers in each. One head of 32 is the narrowest that every path takes.
_SIZES: dict[str, dict[str, int]] = {
    "real": {},
    "narrow": {"hidden_size": 32, "num_attention_heads": 1, "intermediate_size": 64},
}


def make_call(size: str, precision: str, batch: int, length: int, threads: int) -> Callable[[], torch.Tensor]:
    """A call of a full batch, on the fast path."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = transformers.BertForSequenceClassification(transformers.BertConfig(**_SIZES[size])).eval()
    bertfast.accelerate(model, precision=precision, on_fallback="raise")
    made = random_batch((length,) * batch, length)
    inputs = {"input_ids": torch.from_numpy(made.ids), "attention_mask": torch.from_numpy(made.mask)}

    def call() -> torch.Tensor:
        with torch.inference_mode():
            logits: torch.Tensor = model(**inputs).logits
        return logits

    return call


def measure(precision: str, length: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Both models in turn; the share of the medians."""
    given = (precision, arguments.batch, length, arguments.threads)
    workers = {size: Worker(make_call, size, *given, warmup=5) for size in _SIZES}
    runs = interleaved(workers, arguments.rounds)
    for worker in workers.values():
        worker.close()
    timings = {size: timing_of(taken) for size, taken in runs.items()}
    return {
        "precision": precision,
        "row": f"{arguments.batch}x{length}",
        "overhead": timings["narrow"].cpu_ms / timings["real"].cpu_ms,
        "timings": as_json(timings),
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precisions", type=names_of(PRECISIONS), default=PRECISIONS, help="default: all")
    parser.add_argument("--batch", type=at_least(1), default=1)
    parser.add_argument("--lengths", type=counts, default=[32], help="default: 32")
    parser.add_argument("--rounds", type=at_least(2), default=50)
    parser.add_argument("--threads", type=at_least(1), default=1)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def main() -> None:
    """Measure, print a table, write JSON."""
    arguments = _arguments()
    env = {**environment(), "threads": arguments.threads}
    print(f"BERT-base, CPU time in ms, median [quartiles] of {arguments.rounds} interleaved rounds")
    print(", ".join(f"{key} {value}" for key, value in env.items()))
    results = []
    for precision in arguments.precisions:
        lacks = None if precision == "float32" else missing(precision)
        if lacks:
            print(f"without {precision}: {lacks}")
            continue
        results += [measure(precision, length, arguments) for length in arguments.lengths]
    header = ("precision", "batch", "BERT-base", "narrow", "overhead", "goal")
    print(table(header, [_cells(result) for result in results]))
    if arguments.json:
        write_json(arguments.json, {"environment": env, "results": results})


def _cells(result: dict[str, Any]) -> list[str]:
    times = [result["timings"][size] for size in _SIZES]
    shown = [f"{t['cpu_ms']:.2f} [{t['cpu_ms_q1']:.2f}, {t['cpu_ms_q3']:.2f}]" for t in times]
    return [result["precision"], result["row"], *shown, f"{result['overhead']:.1%}", f"{GOAL:.0%}"]


if __name__ == "__main__":
    main()
