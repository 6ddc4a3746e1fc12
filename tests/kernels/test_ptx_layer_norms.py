"""The kernels that end in a LayerNorm as nvcc compiled them, run by the interpreter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kernels.comparison import ARCHITECTURES, check_emulation, check_oracle, normal
from kernels.device_runs import DeviceRuns
from kernels.elements import ELEMENTS, Element
from kernels.ptx.kinds import Array

pytestmark = pytest.mark.slow

# Of the arithmetic in float, on results of about 1; sums of some hundred squares, each rounded.
_FLOAT_ERROR = 2e-6
# nvcc fuses what the host does not: a few steps of a float, and where weight and bias cancel, of what cancels.
_ULPS, _CANCELLATION = 2, 2.0**-20


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("element", ELEMENTS, ids=str)
@pytest.mark.parametrize("absent", [(), ("residual",), ("x_bias",), ("x_bias", "residual")], ids=str)
@pytest.mark.parametrize(
    ("num_tokens", "hidden_size", "skipped"), [(3, 768, 0), (2, 100, 0), (2, 768, 1), (1, 3072, 0)]
)
def test_residual_layer_norm(
    runs: DeviceRuns,
    architecture: str,
    element: Element,
    absent: tuple[str, ...],
    num_tokens: int,
    hidden_size: int,
    skipped: int,
) -> None:
    shape, row, eps = (num_tokens, hidden_size), (hidden_size,), 1e-12
    inputs: dict[str, Array | None] = {
        "x": normal(element, 1, shape, mean=0.3, skipped=skipped),
        "x_bias": normal(element, 2, row),
        "residual": normal(element, 3, shape, deviation=0.7),
        "weight": normal(element, 4, row, mean=1.0, deviation=0.2),
        "bias": normal(element, 5, row, deviation=0.3),
    }
    values = {name: element.to_float64(array) for name, array in inputs.items() if array is not None}
    inputs |= dict.fromkeys(absent)
    out = element.empty(shape)
    emulated = runs.run(
        "residual_layer_norm",
        architecture,
        inputs,
        {"out": out},
        num_tokens=num_tokens,
        hidden_size=hidden_size,
        eps=eps,
        dtype=element.number,
    )["out"]
    total = sum((values[name] for name in ("x_bias", "residual") if name not in absent), start=values["x"])
    want = _layer_norm(total, values["weight"], values["bias"], eps)
    check_oracle(out, want, element, _FLOAT_ERROR)
    check_emulation(out, emulated, element, _ULPS, _CANCELLATION)


def _layer_norm(x: Array, weight: Array, bias: Array, eps: float) -> Any:
    centred = x - x.mean(axis=1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + eps) * weight + bias


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("element", ELEMENTS, ids=str)
@pytest.mark.parametrize("id_dtype", [0, 1], ids=["int32", "int64"])
@pytest.mark.parametrize("is_packed", [False, True], ids=["padded", "packed"])
@pytest.mark.parametrize(("hidden_size", "skipped"), [(768, 0), (1024, 0), (100, 1)])
def test_embedding_layer_norm(
    runs: DeviceRuns,
    architecture: str,
    element: Element,
    id_dtype: int,
    is_packed: bool,
    hidden_size: int,
    skipped: int,
) -> None:
    """Packed: tokens 0, 2 and 5 of two rows of three; positions are then the columns. One id is out of range."""
    tables = {"word": 11, "token_type": 2, "position": 7}
    values = {
        name: normal(element, i, (rows, hidden_size), skipped=skipped) for i, (name, rows) in enumerate(tables.items())
    }
    weight, bias = normal(element, 4, (hidden_size,), mean=1.0), normal(element, 5, (hidden_size,))
    ids_type = (np.int32, np.int64)[id_dtype]
    word_ids = np.array([3, 10, 99, 0, 1, -4], ids_type)
    token_type_ids, position_ids = np.array([0, 1, 1, 0, 0, 1], ids_type), np.array([6, 0, 2, 1, 5, 3], ids_type)
    indices = np.array([0, 2, 5]) if is_packed else np.arange(6)
    out, flags = element.empty((indices.size, hidden_size)), np.zeros(1, np.uint32)
    emulated = runs.run(
        "embedding_layer_norm",
        architecture,
        {
            "indices": indices if is_packed else None,
            "word_ids": word_ids,
            "token_type_ids": token_type_ids,
            "position_ids": None if is_packed else position_ids,
            **{f"{name}_embeddings": array for name, array in values.items()},
            "weight": weight,
            "bias": bias,
        },
        {"out": out},
        in_and_out={"out_of_range": flags},
        num_tokens=indices.size,
        num_words=tables["word"],
        num_token_types=tables["token_type"],
        num_positions=tables["position"],
        padded_len=3,
        hidden_size=hidden_size,
        eps=1e-12,
        dtype=element.number,
        id_dtype=id_dtype,
    )["out"]
    rows = {
        "word": np.clip(word_ids[indices], 0, tables["word"] - 1),
        "token_type": token_type_ids[indices],
        "position": indices % 3 if is_packed else position_ids[indices],
    }
    total = np.sum([element.to_float64(values[name][rows[name]]) for name in tables], axis=0)
    want = _layer_norm(total, element.to_float64(weight), element.to_float64(bias), 1e-12)
    check_oracle(out, want, element, _FLOAT_ERROR)
    check_emulation(out, emulated, element, _ULPS, _CANCELLATION)
    assert flags[0] == 1, "kWordIdOutOfRange"
