"""Runs classify.py twice, as it is and with bertfast in its import, and compares answers and times.

No network: the model is MiniLM from a Python package, fine-tuned by train_head.py (once, a minute or a few).
The exit code is 1 if the two sides disagree or if bertfast did not take its fast path.
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import train_head
import transformers
from tqdm import tqdm

import bertfast

SCRIPT = Path(__file__).with_name("classify.py")
STOCK_IMPORT = "from transformers import"
FAST_IMPORT = "from bertfast import"
TWO_TEXTS = [
    "I had expected little, and it was the best evening of our holiday.",
    "The plot makes no sense and the jokes are not even funny.",
]
BATCH_SIZE = 8
# float32 summed in another order moves the logits by about 1e-6; a real mistake moves them far more.
LARGEST_DIFFERENCE = 1e-4


@dataclass(frozen=True)
class Case:
    """What is classified in one run, a batch per call, and how many runs are timed."""

    name: str
    batches: list[list[str]]
    repeats: int


@dataclass
class Result:
    """Of one case on one side: labels and logits [texts, 2] of the last run, times of all runs."""

    labels: list[str] = field(default_factory=list)
    logits: torch.Tensor = field(default_factory=lambda: torch.empty(0))
    ms: dict[str, list[float]] = field(default_factory=lambda: {"wall": [], "cpu": []})


@dataclass
class Side:
    """One of the two forms of the script: its function, its model, and how often the model was called."""

    name: str
    classify: Callable[[Any, Any, list[str]], tuple[list[str], torch.Tensor]]
    model: Any
    tokenizer: Any
    calls: int = 0

    def run(self, case: Case, result: Result) -> None:
        """Classify all batches once, as the script does: gradients on, tokenising included."""
        labels: list[str] = []
        logits: list[torch.Tensor] = []
        wall, cpu = time.perf_counter(), time.process_time()
        for texts in case.batches:
            batch_labels, batch_logits = self.classify(self.model, self.tokenizer, texts)
            labels += batch_labels
            logits.append(batch_logits.detach())
        result.ms["wall"].append(1e3 * (time.perf_counter() - wall))
        result.ms["cpu"].append(1e3 * (time.process_time() - cpu))
        result.labels, result.logits = labels, torch.cat(logits)
        self.calls += len(case.batches)


def load_side(name: str, source: str, folder: Path) -> Side:
    """Execute the script's source and load its model."""
    script: dict[str, Any] = {"__name__": f"classify_with_{name}"}
    exec(compile(source, f"{SCRIPT.name} ({name})", "exec"), script)
    return Side(name, script["classify"], *script["load"](str(folder)))


def load_both(folder: Path) -> tuple[Side, Side]:
    """The script with transformers and with bertfast; prints the line that differs."""
    source = SCRIPT.read_text(encoding="utf-8")
    (line,) = [line for line in source.splitlines() if line.startswith(STOCK_IMPORT)]
    changed = line.replace(STOCK_IMPORT, FAST_IMPORT)
    print(f"Script: examples/{SCRIPT.name}, run twice. The only difference:\n  - {line}\n  + {changed}")
    stock = load_side("transformers", source, folder)
    if not hasattr(stock.tokenizer, "batch_encode_plus"):
        stock.tokenizer.batch_encode_plus = stock.tokenizer.__call__
        print("  transformers 5 dropped batch_encode_plus: its run gets tokenizer(...) under that name.")
    return stock, load_side("bertfast", source.replace(line, changed), folder)


def measure(sides: tuple[Side, Side], cases: list[Case]) -> list[tuple[Result, Result]]:
    """Run each case on both sides in turn, after one run of each that is not counted."""
    for side in sides:
        side.run(cases[0], Result())
    results = [(Result(), Result()) for _ in cases]
    with tqdm(total=2 * sum(case.repeats for case in cases), desc="measuring", leave=False) as bar:
        for case, pair in zip(cases, results, strict=True):
            for i in range(case.repeats):
                for k in (0, 1) if i % 2 == 0 else (1, 0):
                    sides[k].run(case, pair[k])
                    bar.update()
    return results


def print_row(first: str, *cells: str) -> None:
    """One line of the table."""
    print(f"{first:<44}" + "".join(f"{cell:>22}" for cell in cells))


def print_answers(two: tuple[Result, Result], split: tuple[Result, Result], expected: list[str]) -> None:
    """Label and probability of the two texts; how many of the test split are labelled correctly."""
    for i, text in enumerate(TWO_TEXTS):
        shown = text if len(text) <= 40 else text[:37] + "..."
        print_row(f"  {shown}", *(f"{r.labels[i]} {r.logits[i].softmax(0).max():.1%}" for r in two))
    rights = [sum(map(str.__eq__, result.labels, expected)) for result in split]
    print_row("  test split, correct", *(f"{n} of {len(expected)}: {n / len(expected):.1%}" for n in rights))


def print_times(cases: list[Case], results: list[tuple[Result, Result]]) -> None:
    """Median, fastest and slowest run of each case, and the quotient of the medians."""
    for case, pair in zip(cases, results, strict=True):
        for clock in ("wall", "cpu"):
            times = [result.ms[clock] for result in pair]
            medians = [statistics.median(ms) for ms in times]
            cells = [f"{m:.0f} ({min(ms):.0f}-{max(ms):.0f})" for m, ms in zip(medians, times, strict=True)]
            row = f"  {case.name}, {clock} time, {case.repeats} runs"
            print_row(row, *cells, f"{medians[0] / medians[1]:.1f}x")


def print_comparison(results: list[tuple[Result, Result]]) -> list[str]:
    """Compare all answers of both sides; returns what is wrong with them."""
    labels = [ab for stock, fast in results for ab in zip(stock.labels, fast.labels, strict=True)]
    differing = sum(a != b for a, b in labels)
    gaps = torch.cat([(stock.logits - fast.logits).abs().flatten() for stock, fast in results])
    print(f"\nlargest difference of a logit: {gaps.max():.1e} (allowed: {LARGEST_DIFFERENCE:.0e})")
    print(f"predictions that differ: {differing} of {len(labels)}")
    wrong = [f"{differing} predictions differ"] if differing else []
    if not bool((gaps <= LARGEST_DIFFERENCE).all()):
        wrong.append(f"logits differ by up to {gaps.max():.1e}")
    return wrong


def main() -> int:
    """Train or load the model, run both scripts, print the table. Returns the exit code."""
    train_head.quiet_transformers()
    versions = {module.__name__: module.__version__ for module in (bertfast, transformers, torch)}
    print(", ".join(f"{name} {version}" for name, version in versions.items()), end=", ")
    print(f"Python {platform.python_version()}")
    folder = train_head.trained_model()
    print(f"Model: MiniLM fine-tuned on examples/{train_head.REVIEWS.name}, in {folder}")
    stock, fast = load_both(folder)

    reviews = train_head.read_reviews("test")
    batches = [texts for texts, _ in reviews.batches(BATCH_SIZE)]
    cases = [Case("2 texts", [TWO_TEXTS], 9), Case(f"{len(reviews.texts)} texts by {BATCH_SIZE}", batches, 3)]
    fast_before = bertfast.STATS["fast"]
    results = measure((stock, fast), cases)
    fast_calls = bertfast.STATS["fast"] - fast_before

    print()
    print_row("Predictions", "transformers", "bertfast")
    print_answers(*results, [train_head.LABELS[i] for i in reviews.labels])
    print_row("Times in ms: median (range)", "transformers", "bertfast", "speed-up")
    print_times(cases, results)
    print(f"  padded to 512, tokenising included; {fast.model.device}, {torch.get_num_threads()} threads")
    wrong = print_comparison(results)
    print(f"calls on bertfast's fast path: {fast_calls} of {fast.calls}")
    if fast_calls != fast.calls:
        wrong.append(f"{fast.calls - fast_calls} calls of bertfast ran stock: {bertfast.stats()}")
    print(f"{bertfast.explain(fast.model)}\n")
    print(f"FAILED: {'; '.join(wrong)}" if wrong else "OK: same answers.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
