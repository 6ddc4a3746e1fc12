"""bertfast against transformers sdpa: BERT-base, float32, both in one interleaved run.

    python benchmarks/bench_encoder.py [--rounds 7] [--threads 1] [--rows ragged,1x32] [--json FILE]

Rows (tokens are random ids of a seeded batch with real lengths; both sides run under torch.no_grad(), but for the
classic script, which people write without it):

padded-512     two short texts padded to 512, BertForSequenceClassification, gradients enabled: the classic script
ragged         16 texts of 15 to 105 tokens (log-normal), padded to the longest, BertForSequenceClassification
ragged-exact   the same texts, BertModel with pad_outputs="exact": padding is computed as stock does
8x128 1x128 1x32   full batches, BertForSequenceClassification
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from cpu.rows import Row, batch, rows
from torch import Tensor

import bertfast
from bertfast.bench.timing import Worker, as_json, interleaved, timing_of
from bertfast.environment.describe import summary as environment
from bertfast.environment.record import write_json


def make_transformers(row: Row, threads: int) -> Callable[[], Tensor]:
    """A call of stock transformers as the row uses it."""
    return _call(_model(threads), row)


def make_bertfast(row: Row, threads: int) -> Callable[[], Tensor]:
    """The same call on bertfast."""
    model = bertfast.accelerate(_model(threads), pad_outputs=row.pad_outputs, on_fallback="raise")
    return _call(model, row)


def _model(threads: int) -> torch.nn.Module:
    """BERT-base with seeded random weights, the same in every process."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    config = transformers.BertConfig(attn_implementation="sdpa")
    model: torch.nn.Module = transformers.BertForSequenceClassification(config).eval()
    return model


def _call(model: Any, row: Row) -> Callable[[], Tensor]:
    inputs = batch(row)

    def call() -> Tensor:
        with torch.set_grad_enabled(row.gradients):
            result: Tensor = model.bert(**inputs).last_hidden_state if row.raw_model else model(**inputs).logits
        return result

    return call


def measure(row: Row, rounds: int, threads: int) -> dict[str, Any]:
    """Time one row: both timings, the ratio of the medians and its range by round, and the relative error."""
    workers = {
        "transformers": Worker(make_transformers, row, threads),
        "bertfast": Worker(make_bertfast, row, threads),
    }
    reference, result = workers["transformers"].result, workers["bertfast"].result
    runs = interleaved(workers, rounds)
    timings = {name: timing_of(taken) for name, taken in runs.items()}
    for worker in workers.values():
        worker.close()
    ratios = sorted(a.cpu_ms / b.cpu_ms for a, b in zip(runs["transformers"], runs["bertfast"], strict=True))
    return {
        "row": row.name,
        "real_tokens": row.real_tokens,
        "padded_slots": row.padded_slots,
        "speedup": timings["transformers"].cpu_ms / timings["bertfast"].cpu_ms,
        "speedup_by_round": [round(ratio, 3) for ratio in ratios],
        "at_least": row.at_least,
        "relative_error": float(np.linalg.norm(result - reference) / np.linalg.norm(reference)),
        "timings": as_json(timings),
    }


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rows", default="", help="comma-separated names; default: all")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    wanted = [name for name in arguments.rows.split(",") if name]
    env = {**environment(), "threads": arguments.threads}
    print("BERT-base, float32, CPU time in ms, median [quartiles] of", arguments.rounds, "interleaved rounds")
    print(", ".join(f"{key} {value}" for key, value in env.items()))
    print(f"{'row':13}{'real/padded':>12}{'transformers':>24}{'bertfast':>24}{'speed-up':>9}{'goal':>7}{'error':>10}")
    results = []
    for row in rows():
        if wanted and row.name not in wanted:
            continue
        result = measure(row, arguments.rounds, arguments.threads)
        results.append(result)
        print(_line(result), flush=True)
    if arguments.json:
        write_json(arguments.json, {"environment": env, "results": results})


def _line(result: dict[str, Any]) -> str:
    def cell(name: str) -> str:
        t = result["timings"][name]
        return f"{t['cpu_ms']:9.1f} [{t['cpu_ms_q1']:.1f}, {t['cpu_ms_q3']:.1f}]"

    tokens = f"{result['real_tokens']}/{result['padded_slots']}"
    return (
        f"{result['row']:13}{tokens:>12}{cell('transformers'):>24}{cell('bertfast'):>24}"
        f"{result['speedup']:8.2f}x{result['at_least']:6.2f}x{result['relative_error']:10.1e}"
    )


if __name__ == "__main__":
    main()
