"""The dense layers of BERT-base and MiniLM by each CPU backend: why `select_linear` chooses as it does.

    python benchmarks/bench_linear.py [--rows 32,128,1024] [--repeats 9]

One thread, float32, CPU time in ms, minimum of interleaved repeats. "plain" is y, "gelu" the erf GELU of y, "norm"
LayerNorm(y + residual).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from timing import environment

from bertfast.linear import BlasLinear, Linear, Norm, OneDnnLinear, PortableLinear

# (H, I) of BERT-base and MiniLM.
SIZES = ((768, 3072), (384, 1536))
BACKENDS: tuple[type[Linear], ...] = (BlasLinear, OneDnnLinear, PortableLinear)


def cases(h: int, i: int, rows: int) -> dict[str, dict[str, Callable[[], torch.Tensor]]]:
    """Case name -> backend name -> call."""
    x, inner, out = torch.randn(rows, h), torch.randn(rows, i), torch.empty(rows, i)
    norm = Norm(torch.ones(h), torch.zeros(h), 1e-12)
    up, down = torch.randn(i, h) * 0.02, torch.randn(h, i) * 0.02
    found: dict[str, dict[str, Callable[[], torch.Tensor]]] = {"plain": {}, "gelu": {}, "norm": {}}
    for backend in BACKENDS:
        wide, narrow = backend([up], [torch.zeros(i)]), backend([down], [torch.zeros(h)])
        found["plain"][backend.name] = lambda wide=wide: wide(x, out)
        found["gelu"][backend.name] = lambda wide=wide: wide.activated(x, "erf", out)
        found["norm"][backend.name] = lambda narrow=narrow: narrow.add_norm(inner, x, norm)
    return found


def fastest_ms(calls: dict[str, Callable[[], torch.Tensor]], repeats: int) -> dict[str, float]:
    """The minimum CPU time of each call, taken in turn."""
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(repeats + 1):
        for name, call in calls.items():
            start = time.process_time()
            call()
            best[name] = min(best[name], time.process_time() - start)
    return {name: seconds * 1e3 for name, seconds in best.items()}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="32,128,1024")
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(", ".join(f"{key} {value}" for key, value in environment().items()))
    print(f"{'H':>5}{'rows':>6} {'case':6}" + "".join(f"{backend.name:>10}" for backend in BACKENDS))
    with torch.no_grad():
        for h, i in SIZES:
            for rows in map(int, arguments.rows.split(",")):
                for case, calls in cases(h, i, rows).items():
                    best = fastest_ms(calls, arguments.repeats)
                    print(f"{h:5}{rows:6} {case:6}" + "".join(f"{ms:10.2f}" for ms in best.values()), flush=True)


if __name__ == "__main__":
    main()
