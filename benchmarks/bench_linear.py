"""The dense layers of BERT-base and MiniLM by each CPU backend: why `select_linear` chooses as it does.

    python benchmarks/bench_linear.py [--rows 2,16,32,64,128,1024] [--repeats 7] [--dtype float32]

One thread, CPU time in ms of all layers of the model, minimum of interleaved repeats: every weight is read from memory
as in a forward pass, not from a warm cache. "plain" is y, "gelu" the erf GELU of y, "norm" LayerNorm(y + residual).
"packed" is what bertfast does not do: a copy of each weight in oneDNN's blocked layout, with activation and residual
fused into the product.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from timing import environment
from torch import Tensor

from bertfast.linear import BlasLinear, Linear, Norm, OneDnnLinear, PortableLinear

# Model -> (layers, H, I).
MODELS = {"BERT-base": (12, 768, 3072), "MiniLM": (6, 384, 1536)}


class PackedLinear:
    """A copy of the weight as oneDNN likes it best, for comparison."""

    name = "packed"

    def __init__(self, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> None:
        # 256 rows expected suits both short and long batches.
        self.packed = torch.ops.mkldnn._reorder_linear_weight(torch.cat(tuple(weights)), 256)
        self.bias = torch.cat(tuple(biases))

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "none", [], "")  # type: ignore[no-any-return]

    def activated(self, x: Tensor, activation: str, out: Tensor | None = None) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "gelu", [], "none")  # type: ignore[no-any-return]

    def add_norm(self, x: Tensor, residual: Tensor, norm: Norm) -> Tensor:
        y = torch.ops.mkldnn._linear_pointwise.binary(x, residual, self.packed, self.bias, "add")
        return F.layer_norm(y, norm.weight.shape, norm.weight, norm.bias, norm.eps)


BACKENDS: tuple[type[Linear], ...] = (BlasLinear, OneDnnLinear, PackedLinear, PortableLinear)


def cases(layers: int, h: int, i: int, rows: int, dtype: torch.dtype) -> dict[str, dict[str, Callable[[], object]]]:
    """Case name -> backend name -> call."""
    x, out = torch.randn(rows, h).to(dtype), torch.empty(rows, i, dtype=dtype)
    inner = torch.randn(rows, i).to(dtype)
    norm = Norm(torch.ones(h, dtype=dtype), torch.zeros(h, dtype=dtype), 1e-12)
    up = [(torch.randn(i, h) * 0.02).to(dtype) for _ in range(layers)]
    down = [(torch.randn(h, i) * 0.02).to(dtype) for _ in range(layers)]
    found: dict[str, dict[str, Callable[[], object]]] = {"plain": {}, "gelu": {}, "norm": {}}
    for backend in BACKENDS:
        wide = [backend([weight], [torch.zeros(i, dtype=dtype)]) for weight in up]
        narrow = [backend([weight], [torch.zeros(h, dtype=dtype)]) for weight in down]
        found["plain"][backend.name] = lambda wide=wide: [layer(x, out) for layer in wide]
        found["gelu"][backend.name] = lambda wide=wide: [layer.activated(x, "erf", out) for layer in wide]
        found["norm"][backend.name] = lambda narrow=narrow: [layer.add_norm(inner, x, norm) for layer in narrow]
    return found


def fastest_ms(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
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
    parser.add_argument("--rows", default="2,16,32,64,128,1024")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(", ".join(f"{key} {value}" for key, value in environment().items()) + f", {arguments.dtype}")
    print(f"{'model':10}{'rows':>6} {'case':6}" + "".join(f"{backend.name:>10}" for backend in BACKENDS))
    with torch.no_grad():
        for model, (layers, h, i) in MODELS.items():
            for rows in map(int, arguments.rows.split(",")):
                for case, calls in cases(layers, h, i, rows, getattr(torch, arguments.dtype)).items():
                    best = fastest_ms(calls, arguments.repeats)
                    times = "".join(f"{ms:10.2f}" for ms in best.values())
                    print(f"{model:10}{rows:6} {case:6}{times}", flush=True)


if __name__ == "__main__":
    main()
