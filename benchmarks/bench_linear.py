"""The dense layers of BERT-base and MiniLM by each CPU backend: why `MixedLinear` chooses as it does.

    python benchmarks/bench_linear.py [--rows 2,16,64,128,192,1024] [--repeats 7] [--dtype float32]

One thread, CPU time in ms of all layers of the model, minimum of interleaved repeats: every weight is read from memory
as in a forward pass, not from a warm cache. "qkv" are the three products before attention, "out" is the one behind it
with its residual and LayerNorm, "ffn" the feed-forward network with its erf GELU, residual and LayerNorm. "packed" is
what bertfast does not do: a copy of each weight in oneDNN's blocked layout, with activation and residual fused into the
product.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from bertfast.environment.describe import summary as environment
from bertfast.linear import BlasLinear, FusedLinear, Linear, MixedLinear, Norm, OneDnnLinear, PortableLinear

# Model -> (layers, H, I).
MODELS = {"BERT-base": (12, 768, 3072), "MiniLM": (6, 384, 1536)}


class PackedLinear:
    """A copy of the weight as oneDNN likes it best, for comparison."""

    name = "packed"
    activation: str | None = "oneDNN"
    norm: str | None = "PyTorch"

    def __init__(self, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> None:
        # 256 rows expected suits both short and long batches.
        self.packed = torch.ops.mkldnn._reorder_linear_weight(torch.cat(tuple(weights)), 256)
        self.bias = torch.cat(tuple(biases))
        self.num_bytes, self.dtype = self.packed.nbytes, self.bias.dtype

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "none", [], "")  # type: ignore[no-any-return]

    def activated(self, x: Tensor, activation: str, out: Tensor | None = None) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "gelu", [], "none")  # type: ignore[no-any-return]

    def add_norm(self, x: Tensor, residual: Tensor, norm: Norm) -> Tensor:
        y = torch.ops.mkldnn._linear_pointwise.binary(x, residual, self.packed, self.bias, "add")
        return F.layer_norm(y, norm.weight.shape, norm.weight, norm.bias, norm.eps)


BACKENDS: tuple[type[Linear], ...] = (BlasLinear, OneDnnLinear, FusedLinear, MixedLinear, PackedLinear, PortableLinear)


def cases(layers: int, h: int, i: int, rows: int, dtype: torch.dtype) -> dict[str, dict[str, Callable[[], object]]]:
    """Case name -> backend name -> call."""
    x, norm = torch.randn(rows, h).to(dtype), Norm(torch.ones(h, dtype=dtype), torch.zeros(h, dtype=dtype), 1e-12)
    qkv_out, inner_out = torch.empty(rows, 3 * h, dtype=dtype), torch.empty(rows, i, dtype=dtype)

    def weights(outer: int, inner: int) -> Tensor:
        return (torch.randn(outer, inner) * 0.02).to(dtype)

    parts = [[weights(h, h) for _ in range(3)] for _ in range(layers)]
    square, up, down = ([weights(*shape) for _ in range(layers)] for shape in ((h, h), (i, h), (h, i)))
    found: dict[str, dict[str, Callable[[], object]]] = {"qkv": {}, "out": {}, "ffn": {}}
    for backend in BACKENDS:

        def dense(*given: Tensor, backend: type[Linear] = backend) -> Linear:
            return backend(given, [torch.zeros(len(weight), dtype=dtype) for weight in given])

        qkv, out = [dense(*three) for three in parts], [dense(weight) for weight in square]
        ffn = [(dense(wide), dense(narrow)) for wide, narrow in zip(up, down, strict=True)]
        found["qkv"][backend.name] = partial(_multiply, qkv, x, qkv_out)
        found["out"][backend.name] = partial(_add_norm, out, x, norm)
        found["ffn"][backend.name] = partial(_feed_forward, ffn, x, norm, inner_out)
    return found


def _multiply(layers: list[Linear], x: Tensor, out: Tensor) -> None:
    for layer in layers:
        layer(x, out)


def _add_norm(layers: list[Linear], x: Tensor, norm: Norm) -> None:
    for layer in layers:
        layer.add_norm(x, x, norm)


def _feed_forward(layers: list[tuple[Linear, Linear]], x: Tensor, norm: Norm, out: Tensor) -> None:
    for wide, narrow in layers:
        narrow.add_norm(wide.activated(x, "erf", out), x, norm)


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
    parser.add_argument("--rows", default="2,16,64,128,192,1024")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(", ".join(f"{key} {value}" for key, value in environment().items()) + f", {arguments.dtype}")
    print(f"{'model':10}{'rows':>6} {'case':6}" + "".join(f"{backend.name:>13}" for backend in BACKENDS))
    with torch.no_grad():
        for model, (layers, h, i) in MODELS.items():
            for rows in map(int, arguments.rows.split(",")):
                for case, calls in cases(layers, h, i, rows, getattr(torch, arguments.dtype)).items():
                    best = fastest_ms(calls, arguments.repeats)
                    times = "".join(f"{ms:13.2f}" for ms in best.values())
                    print(f"{model:10}{rows:6} {case:6}{times}", flush=True)


if __name__ == "__main__":
    main()
