"""How far each kernel is from float64, beside torch's own op of the same dtype on the same input.

The table is docs/kernels-accuracy.md; ``python tests/kernels/accuracy.py`` writes it anew.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ops.cases import activation_oracle, counts, layer_norm_oracle, offsets, parts, randn, varlen_attention_oracle
from tolerances import relative_error

PATH = Path(__file__).resolve().parents[2] / "docs" / "kernels-accuracy.md"
RENEW = "python tests/kernels/accuracy.py"
_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
_HEAD = """\
# Accuracy of the kernels

`||result - truth|| / ||truth||`, the truth computed in float64 from the same rounded inputs. PyTorch: its own op of the
same dtype on the CPU, on the same input. The kernels run emulated: none has run on a GPU yet. A GPU has its own `exp2`
(`ex2.approx`, off by at most 2⁻²² of the result), division and `rsqrt` (off by at most 2 units in the last place), and
makes one rounding of some multiplications and additions where the emulation makes two. A test holds every ratio to at
most 2, and the errors to those of this table.

`unpad_input`, `pad_input` and `gather_first` compute nothing that could be rounded: they are exact.

| kernel | input | dtype | kernel's error | PyTorch's error | ratio |
|---|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Accuracy:
    """Relative errors of one kernel on one input."""

    kernel_error: float
    torch_error: float

    @property
    def ratio(self) -> float:
        return self.kernel_error / self.torch_error


# By kernel, input and dtype.
Table = dict[tuple[str, str, str], Accuracy]


def _compare(emulated: Any, name: str, truth: Tensor, *arguments: Any) -> Accuracy:
    """``truth`` against the kernel, and against its reference, which is made of torch's own ops."""
    own = parts(getattr(emulated, name)(*arguments))[0]
    reference = parts(getattr(torch.ops.bertfast, name)(*arguments))[0]
    return Accuracy(relative_error(own, truth), relative_error(reference, truth))


def _bias_gelu(emulated: Any, dtype: torch.dtype, activation: str) -> Accuracy:
    x, bias = 2 * randn(64, 3072, dtype=dtype), randn(3072, dtype=dtype)
    truth = activation_oracle(x.double() + bias.double(), activation)
    return _compare(emulated, "bias_gelu", truth, x, bias, activation)


def _residual_layer_norm(emulated: Any, dtype: torch.dtype, hidden_size: int, mean: float) -> Accuracy:
    x, residual = randn(2, 64, hidden_size, dtype=dtype)
    x = x + mean
    weight, bias = randn(2, hidden_size, dtype=dtype)
    truth = layer_norm_oracle(x.double() + residual.double(), weight, bias, 1e-12)
    return _compare(emulated, "residual_layer_norm", truth, x, residual, weight, bias, 1e-12)


def _embedding_layer_norm(emulated: Any, dtype: torch.dtype, hidden_size: int) -> Accuracy:
    tables = [randn(rows, hidden_size, dtype=dtype) for rows in (100, 2, 64)]
    ids = [torch.randint(len(table), (64,)) for table in tables]
    weight, bias = randn(2, hidden_size, dtype=dtype)
    total = sum((table.double()[rows] for table, rows in zip(tables, ids, strict=True)), start=torch.tensor(0.0))
    truth = layer_norm_oracle(total, weight, bias, 1e-12)
    return _compare(emulated, "embedding_layer_norm", truth, *ids, *tables, weight, bias, 1e-12)


def _varlen_attention(emulated: Any, dtype: torch.dtype, lengths: list[int], head_size: int) -> Accuracy:
    qkv, scale = randn(sum(lengths), 3, 2, head_size, dtype=dtype), head_size**-0.5
    keys = [length - length // 5 for length in lengths]
    truth = varlen_attention_oracle(qkv, lengths, keys, scale)
    arguments = (offsets(lengths), counts(keys), max(lengths), scale)
    return _compare(emulated, "varlen_attention", truth, qkv, *arguments)


# Each called with the emulated ops and a dtype.
_CASES: dict[tuple[str, str], tuple[Callable[..., Accuracy], tuple[Any, ...]]] = {
    ("bias_gelu", "erf"): (_bias_gelu, ("erf",)),
    ("bias_gelu", "tanh"): (_bias_gelu, ("tanh",)),
    ("bias_gelu", "relu"): (_bias_gelu, ("relu",)),
    ("residual_layer_norm", "H 768"): (_residual_layer_norm, (768, 0.0)),
    ("residual_layer_norm", "H 768, mean 30"): (_residual_layer_norm, (768, 30.0)),
    ("residual_layer_norm", "H 1000"): (_residual_layer_norm, (1000, 0.0)),
    ("residual_layer_norm", "H 4096"): (_residual_layer_norm, (4096, 0.0)),
    ("embedding_layer_norm", "H 384"): (_embedding_layer_norm, (384,)),
    ("embedding_layer_norm", "H 768"): (_embedding_layer_norm, (768,)),
    ("varlen_attention", "short, D 32"): (_varlen_attention, ([40, 17, 64], 32)),
    ("varlen_attention", "short, D 64"): (_varlen_attention, ([128, 100, 31], 64)),
    ("varlen_attention", "long, D 64"): (_varlen_attention, ([300, 150], 64)),
    ("varlen_attention", "long, D 128"): (_varlen_attention, ([200, 90], 128)),
    ("varlen_attention", "D 80"): (_varlen_attention, ([130, 33], 80)),
}


def measure(emulated: Any) -> Table:
    """All cases, the same each time."""
    table = {}
    for (kernel, case), (function, arguments) in _CASES.items():
        for name, dtype in _DTYPES.items():
            torch.manual_seed(0)
            table[kernel, case, name] = function(emulated, dtype, *arguments)
    return table


def render(table: Table) -> str:
    """The document."""
    rows = (
        f"| {kernel} | {case} | {dtype} | {found.kernel_error:.1e} | {found.torch_error:.1e} | {found.ratio:.2f} |\n"
        for (kernel, case, dtype), found in table.items()
    )
    return _HEAD + "".join(rows)


def read(text: str) -> Iterator[tuple[tuple[str, str, str], Accuracy]]:
    """The rows of the document, rounded as it shows them."""
    for line in text.removeprefix(_HEAD).splitlines():
        kernel, case, dtype, own, other, _ = (cell.strip() for cell in line.strip("|").split("|"))
        yield (kernel, case, dtype), Accuracy(float(own), float(other))


if __name__ == "__main__":
    from kernels.emulated_ops import load

    PATH.write_text(render(measure(load())))
    print(PATH.read_text())
