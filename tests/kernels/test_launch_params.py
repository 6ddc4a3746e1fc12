"""Any launch parameters: sizes at the limits and beyond, enumerations of nothing, pointers between two elements.

A launcher refuses them, or launches what a GPU can run and gives the right result.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fuzzing import fuzzer
from hypothesis import given
from hypothesis import strategies as st
from tolerances import other_order

from kernels.comparison import normal
from kernels.device.tools import MissingTool
from kernels.elements import ELEMENTS, Element
from kernels.launches import Launchers, aligned_array, build_launchers
from kernels.params import make_params
from kernels.ptx.kinds import Array

_NUMBERS = {
    "int64_t": [-(2**63), -(2**31) - 1, -7, -1, 0, 1, 2**31 - 1, 2**31, 2**33, 2**53, 2**63 - 1],
    "int": [-(2**31), -7, -1, 0, 1, 3, 75, 255, 256, 257, 8192, 8193, 2**22, 2**31 - 1],
    "float": [-1.0, 0.0, 1e-45, 1.0, 3e38, float("inf"), float("nan")],
}
_ENUMS = {"dtype", "activation", "id_dtype", "mask_dtype", "mask_reading", "model_dtype"}
_WIDE = {"num_tokens", "num_words", "num_token_types", "num_positions", "num_rows", "pad_token_id"}
# Of these any number has a meaning: no row lies below 0, and no id in such a table.
_ANY_NUMBER = {"pad_token_id", "eps", "scale"}
_BOUNDS_ONLY = {
    "gather_first": {"num_tokens"},
    "pad_input": {"num_rows"},
    "unpad_input": {"num_words", "num_token_types", "num_positions"},
    "embedding_layer_norm": {"padded_len"},  # of given position_ids
}


def _case(op: str, element: Element) -> tuple[dict[str, Array], dict[str, Array], dict[str, Any]]:
    """Inputs, outputs and numbers that fit."""

    def some(seed: int, *shape: int) -> Array:
        return normal(element, seed, shape)

    dtype = {"dtype": element.number}
    out = {"out": element.empty((3, 24))}
    if op == "bias_gelu":
        scalars = {"num_tokens": 3, "inner_size": 24, "activation": 0, **dtype}
        return {"x": some(1, 3, 24), "bias": some(2, 24)}, out, scalars
    if op == "residual_layer_norm":
        rows = {name: some(i, 3, 24) for i, name in enumerate(("x", "residual"))}
        vectors = {name: some(i, 24) for i, name in enumerate(("x_bias", "weight", "bias"))}
        return {**rows, **vectors}, out, {"num_tokens": 3, "hidden_size": 24, "eps": 1e-5, **dtype}
    if op == "embedding_layer_norm":
        return _embedding(some, out, dtype)
    if op == "unpad_input":
        return _unpad()
    if op == "pad_input":
        inputs = {"x": some(1, 2, 24), "indices": np.array([2, 0, 1]), "num_tokens": np.array([2], np.int32)}
        return inputs, out, {"num_rows": 2, "num_positions": 3, "hidden_size": 24, **dtype}
    if op == "gather_first":
        inputs = {"x": some(1, 5, 24), "first_rows": np.array([0, 4, 1])}
        return inputs, out, {"num_tokens": 5, "batch_size": 3, "hidden_size": 24, **dtype}
    layout = {"cu_seqlens": np.array([0, 3, 5], np.int32), "key_lengths": np.array([2, 2], np.int32)}
    sizes = {"num_tokens": 5, "num_sequences": 2, "num_heads": 2, "head_size": 32, "scale": 0.2, **dtype}
    if op == "first_token_attention":
        inputs = {"query": some(1, 2, 2, 32), "key_value": some(2, 5, 2, 2, 32), **layout}
        return inputs, {"out": element.empty((2, 2, 32))}, sizes
    inputs = {"qkv": some(1, 5, 3, 2, 32), **layout}
    return inputs, {"out": element.empty((5, 2, 32))}, {**sizes, "max_seqlen": 3, "compute_capability": 80}


def _embedding(some: Any, out: dict[str, Array], dtype: dict[str, Any]) -> tuple[Any, Any, Any]:
    ids = {name: np.array([1, 0, 1], np.int32) for name in ("word_ids", "token_type_ids", "position_ids")}
    tables = {name: some(i, 2, 24) for i, name in enumerate(_TABLES)}
    inputs = {"indices": np.array([2, 0, 1]), **ids, **tables, "weight": some(7, 24), "bias": some(8, 24)}
    rows = {"num_tokens": 3, "num_words": 2, "num_token_types": 2, "num_positions": 2}
    scalars = {**rows, "padded_len": 2, "hidden_size": 24, "eps": 1e-5, "id_dtype": 0, **dtype}
    return inputs, {**out, "out_of_range": np.zeros(1, np.uint32)}, scalars


_TABLES = ("word_embeddings", "token_type_embeddings", "position_embeddings")


def _unpad() -> tuple[Any, Any, Any]:
    mask = np.array([[1, 1, 1], [1, 0, 0]])
    ids = {name: mask.astype(np.int32) for name in ("input_ids", "token_type_ids", "position_ids")}
    outputs = {
        "indices": np.zeros(6, np.int64),
        "cu_seqlens": np.zeros(3, np.int32),
        "key_lengths": np.zeros(2, np.int32),
        "first_rows": np.zeros(2, np.int64),
        "counts": np.zeros(5, np.int64),
    }
    rows = {"num_words": 9, "num_token_types": 2, "num_positions": 3, "pad_token_id": 0, "has_pad_token": True}
    kinds = {"mask_dtype": 5, "mask_reading": 0, "model_dtype": 0, "id_dtype": 0}
    return {"attention_mask": mask, **ids}, outputs, {**rows, "batch_size": 2, "padded_len": 3, **kinds}


_OPS = [
    "bias_gelu",
    "residual_layer_norm",
    "embedding_layer_norm",
    "unpad_input",
    "pad_input",
    "gather_first",
    "varlen_attention",
    "first_token_attention",
]


@pytest.fixture(scope="module")
def launchers() -> Launchers:
    try:
        return build_launchers()
    except MissingTool as missing:
        pytest.skip(str(missing))


def _refused(call: Any) -> Any:
    """What a launch gives, or None where the launcher itself refuses it."""
    try:
        return call()
    except RuntimeError as error:
        if not str(error).endswith(": error 1 "):  # cudaErrorInvalidValue, and nothing that the emulation has to say
            raise
        return None


@st.composite
def _numbers(draw: st.DrawFn, scalars: dict[str, Any]) -> dict[str, Any]:
    """One or two numbers changed to one of the unusual."""
    changes = {}
    names = [name for name in scalars if name != "has_pad_token"]
    for name in draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True)):
        kind = "float" if name in ("eps", "scale") else "int64_t" if name in _WIDE else "int"
        values = [-1, 0, 1, 2, 9, 10, 99] if name in _ENUMS else _NUMBERS[kind]
        changes[name] = draw(st.sampled_from(values))
    return changes


@pytest.mark.fuzz
@pytest.mark.parametrize("op", _OPS)
def test_any_numbers(op, launchers):
    inputs, outputs, scalars = _case(op, ELEMENTS[0])

    @fuzzer(150)
    @given(_numbers(scalars), st.sampled_from(ELEMENTS))
    def check(changes, element):
        dtype = {"dtype": element.number} if "dtype" in scalars else {}
        params = make_params(op, **inputs, **outputs, **{**scalars, **dtype, **changes})
        launches = _refused(lambda: launchers.shapes(op, params))
        for launch in launches or ():
            assert all(1 <= n <= limit for n, limit in zip(launch.launch.grid, (2**31 - 1, 65535, 65535), strict=True))
            assert launch.launch.params, "no parameters"
        meant = _ANY_NUMBER | _ENUMS | _BOUNDS_ONLY.get(op, set())
        below = {name for name, value in changes.items() if name not in meant and value < 0}
        assert not (below and launches), f"launched, with {below} below 0"

    check()


def _moved(array: Array, offset: int) -> Array:
    """The same values so many bytes after a 16-byte boundary."""
    raw = aligned_array((array.nbytes + offset,), np.dtype(np.uint8))[offset:]
    raw[:] = array.reshape(-1).view(np.uint8)
    return raw.view(array.dtype).reshape(array.shape)


def _launch(launchers: Launchers, op: str, inputs: Any, outputs: Any, scalars: Any) -> dict[str, Array] | None:
    params = make_params(op, **inputs, **outputs, **scalars)
    launches = _refused(lambda: launchers.launch(op, params, {**inputs, **outputs}))
    return None if launches is None else outputs


def _assert_same(found: dict[str, Array], expected: dict[str, Array], element: Element) -> None:
    """Rows that cannot be read in vectors are added up in another order."""
    numbers = {name: array.astype(float) for name, array in expected.items()}
    for name, array in found.items():
        if name == "out":
            numbers[name], array = element.to_float64(expected[name]), element.to_float64(array)
        np.testing.assert_allclose(array, numbers[name], **other_order(element.unit_roundoff))


@pytest.mark.fuzz
@pytest.mark.parametrize("op", _OPS)
def test_any_addresses(op, launchers):
    """Of one tensor: a multiple of its element's size is served, another may be refused."""
    expected = {e.name: _launch(launchers, op, *_case(op, e)) for e in ELEMENTS}
    names = sorted({*_case(op, ELEMENTS[0])[0], *_case(op, ELEMENTS[0])[1]})

    @fuzzer(40)
    @given(st.sampled_from(names), st.integers(1, 15), st.sampled_from(ELEMENTS))
    def check(name, offset, element):
        inputs, outputs, scalars = _case(op, element)
        for arrays in (inputs, outputs):
            if name in arrays:
                item = arrays[name].itemsize
                arrays[name] = _moved(arrays[name], offset)
        found = _launch(launchers, op, inputs, outputs, scalars)
        if found is None:
            assert offset % item != 0, "refused"
        else:
            _assert_same(found, expected[element.name], element)

    check()
