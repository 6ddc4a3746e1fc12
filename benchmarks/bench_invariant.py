"""What ``invariant=True`` costs: time per text of BERT-base's and MiniLM's sizes, without it and with it.

    python benchmarks/bench_invariant.py [--threads 1] [--repeats 7] [--layers 4]

Random weights; a few layers stand for all. The texts of a batch have 8 to 128 tokens, padded on the right; the head
reads the pooled output. Median CPU time of interleaved repeats.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
import transformers
from torch import Tensor, nn

import bertfast
from bertfast.environment.describe import summary as environment

SIZES = {"BERT-base": (768, 12, 3072), "MiniLM": (384, 12, 1536)}
BATCHES = (1, 8, 32)


def batch_of(texts: int) -> dict[str, Tensor]:
    """Right-padded ids of texts of 8 to 128 tokens; one text alone has 32."""
    lengths = torch.tensor([32]) if texts == 1 else torch.linspace(8, 128, texts).long()
    mask = (torch.arange(int(lengths.max())) < lengths.unsqueeze(1)).long()
    generator = torch.Generator().manual_seed(0)
    return {"input_ids": torch.randint(1, 1000, mask.shape, generator=generator) * mask, "attention_mask": mask}


def make(size: str, layers: int, precision: str | None, invariant: bool) -> nn.Module:
    """A classifier of a size, accelerated."""
    hidden, heads, inner = SIZES[size]
    config = transformers.BertConfig(
        vocab_size=1000,
        hidden_size=hidden,
        num_attention_heads=heads,
        intermediate_size=inner,
        num_hidden_layers=layers,
    )
    torch.manual_seed(0)
    model: nn.Module = transformers.BertForSequenceClassification(config).eval()
    return bertfast.accelerate(model, precision=precision, invariant=invariant, on_fallback="raise")


@torch.no_grad()
def medians_ms(models: list[nn.Module], batch: dict[str, Tensor], repeats: int) -> list[float]:
    """Median CPU time of a call of each model, in turn."""
    taken: list[list[float]] = [[] for _ in models]
    for turn in range(repeats + 2):
        for model, times in zip(models, taken, strict=True):
            start = time.process_time()
            model(**batch)
            if turn > 1:
                times.append(time.process_time() - start)
    return [statistics.median(times) * 1e3 for times in taken]


def main() -> None:
    """Print one line for each size, precision and batch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--layers", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(", ".join(f"{key} {value}" for key, value in environment().items()))
    print(f"{options.threads} threads, {options.layers} layers, median of {options.repeats}")
    for size in SIZES:
        for precision in (None, "bfloat16", "int8"):
            models = [make(size, options.layers, precision, invariant) for invariant in (False, True)]
            for texts in BATCHES:
                plain, invariant = medians_ms(models, batch_of(texts), options.repeats)
                name = f"{size:9} {precision or 'float32':8} {texts:3} texts"
                print(f"{name}: {plain:8.2f} ms, invariant {invariant:8.2f} ms, {invariant / plain:.2f} times")


if __name__ == "__main__":
    main()
