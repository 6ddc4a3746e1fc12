"""Many forwards over random shapes, each case in a process of its own: how much resident memory grows meanwhile.

    python tests/reliability/soak.py --forwards 20000
    python tests/reliability/soak.py --seconds 4 --cases int8,invariant

Prints a line for each case, and fails for growth beyond 2 % after the first third, or for a tensor that stays.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

import torch
import transformers

import bertfast
from bertfast.linear import missing, mixed

CASES: dict[str, dict[str, Any]] = {
    "float32": {},
    "bfloat16": {"precision": "bfloat16"},
    "int8": {"precision": "int8"},
    "invariant": {"invariant": True},
}
ALLOWED = 1.02
LONGEST, MOST_TEXTS = 32, 8


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def live_tensors() -> int:
    gc.collect()
    # By type: to ask some of torch's deprecated names for their class is to be warned.
    return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())


def make_model(options: dict[str, Any]) -> Any:
    # So that small weights go the ways of large ones, which oneDNN multiplies.
    mixed.MixedLinear._LARGE_WEIGHT = 0
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=97,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=LONGEST,
    )
    model = bertfast.BertForSequenceClassification(config).eval()
    return bertfast.accelerate(model, on_fallback="raise", **options)


def make_batch(lengths: list[int], side: str, seed: int) -> dict[str, torch.Tensor]:
    """side: where the padding is; ``"holed"``: also in between."""
    generator = torch.Generator().manual_seed(seed)
    longest = max(lengths)
    columns, counts = torch.arange(longest), torch.tensor(lengths).unsqueeze(1)
    mask = (columns >= longest - counts if side == "left" else columns < counts).long()
    if side == "holed":
        mask[:, 1:-1] &= (torch.rand(mask[:, 1:-1].shape, generator=generator) < 0.6).long()
    return {"input_ids": torch.randint(1, 97, mask.shape, generator=generator), "attention_mask": mask}


def _random_batch(numbers: random.Random) -> dict[str, torch.Tensor]:
    lengths = [numbers.randint(2, LONGEST) for _ in range(numbers.randint(1, MOST_TEXTS))]
    return make_batch(lengths, numbers.choice(["right", "left", "holed"]), numbers.randrange(2**16))


@torch.no_grad()
def soak(case: str, seconds: float, forwards: float) -> str | None:
    """Until one of both is reached; prints figures and returns what is wrong."""
    model, numbers, start = make_model(CASES[case]), random.Random(0), time.monotonic()
    # All numbers of rows first: what scratch memory and compiled products can grow to, they have then.
    for rows in range(16, MOST_TEXTS * LONGEST + 1, 16):
        whole, rest = divmod(rows, LONGEST)
        model(**make_batch([LONGEST] * whole + [rest] * (rest > 0), "right", 0))
    calls, settled, tensors, first = 0, 0, 0, 0
    begun = time.monotonic()

    def share() -> float:
        return max((time.monotonic() - begun) / seconds, calls / forwards)

    while share() < 1:
        model(**_random_batch(numbers))
        calls += 1
        if first == 0 and share() > 1 / 3:
            settled, tensors, first = resident_bytes(), live_tensors(), calls
    grown, stayed = resident_bytes() / settled, live_tensors() - tensors
    print(
        f"{case}: {calls} forwards in {time.monotonic() - start:.0f} s, resident memory {grown:.4f} times "
        f"the {settled / 2**20:.0f} MiB after {first}, {stayed} more tensors",
        flush=True,
    )
    if calls == first:
        return f"{case}: {calls} forwards are too few to compare; give more, or more seconds"
    if grown > ALLOWED or stayed > 0:
        return f"{case}: allowed are {ALLOWED} times, and no more tensors"
    return None


def _end_with(case: str, seconds: float, forwards: float) -> None:
    complaint = soak(case, seconds, forwards)
    if complaint is not None:
        sys.exit(complaint)


def _in_processes(cases: list[str], seconds: float, forwards: float) -> int:
    """Each in a fork of this one, which has imported everything and computed nothing."""
    worst = 0
    for case in cases:
        lacks = missing(case) if case in ("bfloat16", "int8") else None
        if lacks is not None:
            print(f"{case}: skipped, {lacks}", flush=True)
            continue
        process = multiprocessing.get_context("fork").Process(target=_end_with, args=(case, seconds, forwards))
        process.start()
        process.join()
        if process.exitcode:
            print(f"{case}: its process ended with {process.exitcode}", file=sys.stderr)
            worst = max(worst, abs(process.exitcode))
    return worst


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default=",".join(CASES), help="of %(default)s")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="how long a case runs at most")
    parser.add_argument("--forwards", type=float, default=float("inf"), help="how many forwards it makes at most")
    options = parser.parse_args(arguments)
    if options.seconds == options.forwards:
        parser.error("one of --seconds and --forwards has to be given")
    torch.set_num_threads(1)
    cases = options.cases.split(",")
    if unknown := [case for case in cases if case not in CASES]:
        parser.error(f"--cases {','.join(unknown)}: expected some of {', '.join(CASES)}, separated by commas")
    return _in_processes(cases, options.seconds, options.forwards)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
