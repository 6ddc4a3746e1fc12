"""How far each kernel is from float64, beside PyTorch's own ops of the same dtype on the same input.

PyTorch's are called here by name, not by bertfast's references, which could err as the kernels do. The table is
docs/kernels-accuracy.md; ``python tests/kernels/accuracy.py`` writes it anew.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ops.cases import (
    activation_oracle,
    counts,
    first_token_attention_oracle,
    layer_norm_oracle,
    offsets,
    randn,
    varlen_attention_oracle,
)
from tolerances import relative_error

from kernels.copies import Differing, count_differing

PATH = Path(__file__).resolve().parents[2] / "docs" / "kernels-accuracy.md"
RENEW = "python tests/kernels/accuracy.py"
_EPS = 1e-12
_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
_HEAD = """\
# Accuracy of the kernels

`||result - truth|| / ||truth||`, the truth computed in float64 from the same rounded inputs. PyTorch: its own op of the
same dtype on the CPU, on the same input. The kernels run emulated: none has run on a GPU yet. A GPU has its own `exp2`
(`ex2.approx`, off by at most 2⁻²² of the result), division and `rsqrt` (off by at most 2 units in the last place), and
makes one rounding of some multiplications and additions where the emulation makes two. A test holds every ratio to at
most 2, and the errors to those of this table.

PyTorch is its own ops on the CPU, every tensor in the kernel's dtype:

| kernel | PyTorch |
|---|---|
| `bias_gelu` | `F.gelu(x + bias)`, with `approximate="tanh"` for tanh; `F.relu(x + bias)` |
| `residual_layer_norm` | `F.layer_norm(x + residual, ...)` |
| `embedding_layer_norm` | `F.layer_norm` of the sum of three `F.embedding` |
| both attentions | `F.scaled_dot_product_attention`, one call for each sequence with its own keys |

In half precision these round a sum before its LayerNorm or activation; the kernels round once, at the end, and so come
out nearer. The CPU implementations in `bertfast/ops` are made of the same ops and round where these do, as transformers
does: on a CPU, equal numbers count for more.

| kernel | input | dtype | kernel's error | PyTorch's error | ratio |
|---|---|---|---|---|---|
"""
_COPIES_HEAD = """
`unpad_input`, `pad_input` and `gather_first` compute nothing that could be rounded: they give the bits of PyTorch's
`nonzero`, `index_copy_` and `index_select`.

| kernel | input | dtype | elements that differ |
|---|---|---|---|
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


def _compare(truth: Tensor, of_kernel: Tensor, of_torch: Tensor) -> Accuracy:
    assert of_kernel.dtype == of_torch.dtype
    return Accuracy(relative_error(of_kernel, truth), relative_error(of_torch, truth))


def _bias_gelu(emulated: Any, dtype: torch.dtype, activation: str) -> Accuracy:
    x, bias = 2 * randn(64, 3072, dtype=dtype), randn(3072, dtype=dtype)
    truth = activation_oracle(x.double() + bias.double(), activation)
    y = x + bias
    own = F.relu(y) if activation == "relu" else F.gelu(y, approximate="tanh" if activation == "tanh" else "none")
    return _compare(truth, emulated.bias_gelu(x, bias, activation), own)


def _residual_layer_norm(emulated: Any, dtype: torch.dtype, hidden_size: int, mean: float) -> Accuracy:
    x, residual = randn(2, 64, hidden_size, dtype=dtype)
    x = x + mean
    weight, bias = randn(2, hidden_size, dtype=dtype)
    truth = layer_norm_oracle(x.double() + residual.double(), weight, bias, _EPS)
    own = F.layer_norm(x + residual, (hidden_size,), weight, bias, _EPS)
    return _compare(truth, emulated.residual_layer_norm(x, residual, weight, bias, _EPS), own)


def _embedding_layer_norm(emulated: Any, dtype: torch.dtype, hidden_size: int) -> Accuracy:
    tables = [randn(rows, hidden_size, dtype=dtype) for rows in (100, 2, 64)]
    ids = [torch.randint(len(table), (64,)) for table in tables]
    weight, bias = randn(2, hidden_size, dtype=dtype)
    total = sum((table.double()[rows] for table, rows in zip(tables, ids, strict=True)), start=torch.tensor(0.0))
    truth = layer_norm_oracle(total, weight, bias, _EPS)
    word, token_type, position = (F.embedding(rows, table) for rows, table in zip(ids, tables, strict=True))
    own = F.layer_norm(word + token_type + position, (hidden_size,), weight, bias, _EPS)
    return _compare(truth, emulated.embedding_layer_norm(*ids, *tables, weight, bias, _EPS)[0], own)


def _varlen_attention(emulated: Any, dtype: torch.dtype, lengths: list[int], head_size: int) -> Accuracy:
    qkv, scale = randn(sum(lengths), 3, 2, head_size, dtype=dtype), head_size**-0.5
    keys = [length - length // 5 for length in lengths]
    truth = varlen_attention_oracle(qkv, lengths, keys, scale)
    pieces = []
    for rows, num_keys in zip(qkv.split(lengths), keys, strict=True):
        q, k, v = rows.permute(1, 2, 0, 3).unsqueeze(1)  # each [1, N, rows, D]
        own = F.scaled_dot_product_attention(q, k[:, :, :num_keys], v[:, :, :num_keys], scale=scale)
        pieces.append(own[0].transpose(0, 1))
    kernel = emulated.varlen_attention(qkv, offsets(lengths), counts(keys), max(lengths), scale)
    return _compare(truth, kernel, torch.cat(pieces))


def _first_token_attention(emulated: Any, dtype: torch.dtype, lengths: list[int], head_size: int) -> Accuracy:
    key_value, scale = randn(sum(lengths), 2, 2, head_size, dtype=dtype), head_size**-0.5
    query = randn(len(lengths), 2, head_size, dtype=dtype)
    keys = [length - length // 5 for length in lengths]
    truth = first_token_attention_oracle(query, key_value, lengths, keys, scale)
    pieces = []
    for q, rows, num_keys in zip(query, key_value.split(lengths), keys, strict=True):
        k, v = rows[:num_keys].permute(1, 2, 0, 3).unsqueeze(1)  # each [1, N, keys, D]
        own = F.scaled_dot_product_attention(q[None, :, None], k, v, scale=scale)
        pieces.append(own[:, :, 0])
    kernel = emulated.first_token_attention(query, key_value, offsets(lengths), counts(keys), scale)
    return _compare(truth, kernel, torch.cat(pieces))


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
    ("first_token_attention", "D 64"): (_first_token_attention, ([300, 17, 128], 64)),
    ("first_token_attention", "D 80"): (_first_token_attention, ([130, 33, 250], 80)),
}


def measure(emulated: Any) -> Table:
    """All cases, the same each time."""
    table = {}
    for (kernel, case), (function, arguments) in _CASES.items():
        for name, dtype in _DTYPES.items():
            torch.manual_seed(0)
            table[kernel, case, name] = function(emulated, dtype, *arguments)
    return table


def render(table: Table, differing: Differing) -> str:
    """The document."""
    rows = (
        f"| {kernel} | {case} | {dtype} | {found.kernel_error:.1e} | {found.torch_error:.1e} | {found.ratio:.2f} |\n"
        for (kernel, case, dtype), found in table.items()
    )
    copies = (f"| {' | '.join(key)} | {count} |\n" for key, count in differing.items())
    return "".join((_HEAD, *rows, _COPIES_HEAD, *copies))


def read(text: str) -> tuple[Table, Differing]:
    """The rows of the document, rounded as it shows them."""
    rows, copies = text.removeprefix(_HEAD).split(_COPIES_HEAD)
    table: Table = {}
    for kernel, case, dtype, own, other, _ in map(_cells, rows.splitlines()):
        table[kernel, case, dtype] = Accuracy(float(own), float(other))
    return table, {(kernel, case, dtype): int(n) for kernel, case, dtype, n in map(_cells, copies.splitlines())}


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


if __name__ == "__main__":
    from kernels.emulated_ops import load

    emulated = load()
    PATH.write_text(render(measure(emulated), count_differing(emulated)))
    print(PATH.read_text())
