"""The kernels of ``unpad_input`` against their reference, which must be met exactly."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bertfast.ops.unpad_input import MASK_DTYPES, PackedCounts, UnpaddedInput

_TABLES = {"num_words": 31, "num_token_types": 3, "num_positions": 19}
_READINGS = [None, torch.float32, torch.float16, torch.bfloat16]


def _ids(batch_size: int, padded_len: int, dtype: torch.dtype = torch.int64) -> dict[str, torch.Tensor]:
    """In range, and one in three words is the pad token 0."""
    size = (batch_size, padded_len)
    words = torch.randint(0, 31, size) * (torch.rand(size) < 2 / 3)
    types, positions = torch.randint(0, 3, size), torch.randint(0, 19, size)
    return {"input_ids": words.to(dtype), "token_type_ids": types.to(dtype), "position_ids": positions.to(dtype)}


def _check(emulated: Any, mask: torch.Tensor, ids: dict[str, Any], **changes: Any) -> UnpaddedInput:
    arguments = {"attention_mask": mask, **ids, **_TABLES, "pad_token_id": 0, "one_in": None, **changes}
    out = UnpaddedInput(*emulated.unpad_input(**arguments))
    wanted = UnpaddedInput(*torch.ops.bertfast.unpad_input(**arguments))
    for name, got, expected in zip(out._fields, out, wanted, strict=True):
        assert torch.equal(got, expected), name
    return out


def _masks(batch_size: int, padded_len: int) -> dict[str, torch.Tensor]:
    lengths = torch.randint(0, padded_len + 1, (batch_size, 1))
    columns = torch.arange(padded_len)
    return {
        "right padding": columns < lengths,
        "left padding": columns >= padded_len - lengths,
        "holes": torch.rand(batch_size, padded_len) < 0.6,
        "nothing attended": torch.zeros(batch_size, padded_len, dtype=torch.bool),
        "no padding": torch.ones(batch_size, padded_len, dtype=torch.bool),
    }


@pytest.mark.parametrize("padded_len", [1, 2, 31, 32, 33, 127, 128, 129, 1023, 1024, 1025, 5000])
@pytest.mark.parametrize("batch_size", [0, 1, 3])
def test_sizes(emulated, batch_size, padded_len):
    ids = _ids(batch_size, padded_len)
    for mask in _masks(batch_size, padded_len).values():
        for pad_token_id in (0, None, -7, 2**40):
            _check(emulated, mask, ids, pad_token_id=pad_token_id)
        _check(emulated, mask, {**ids, "input_ids": None})


@pytest.mark.parametrize("columns", [0, 4])
def test_an_empty_batch(emulated, columns):
    for pad_token_id in (None, 0):
        _check(emulated, torch.ones(0, columns), _ids(0, columns), pad_token_id=pad_token_id)


def test_int32_ids_beside_larger_numbers(emulated):
    tables = dict.fromkeys(_TABLES, 2**32)
    for pad_token_id in (2**32, 2**32 + 5, -(2**32)):
        _check(emulated, torch.zeros(3, 40), _ids(3, 40, torch.int32), **tables, pad_token_id=pad_token_id)


@pytest.mark.parametrize("batch_size", [511, 512, 513, 1100])
def test_more_sequences_than_threads(emulated, batch_size):
    for mask in _masks(batch_size, 3).values():
        _check(emulated, mask, _ids(batch_size, 3))


@pytest.mark.parametrize("ids_dtype", [torch.int64, torch.int32], ids=str)
@pytest.mark.parametrize("dtype", MASK_DTYPES, ids=str)
def test_masks_of_every_dtype(emulated, dtype, ids_dtype):
    elements = torch.tensor([0.0, 1.0, 1.0, 2.0, 0.5, 1.0])
    if dtype not in (torch.bool, torch.uint8):
        elements = torch.cat((elements, torch.tensor([-1.0, -0.0])))
    if dtype.is_floating_point:
        steps = [sign * 2.0**exponent for sign in (1, -1) for exponent in range(-60, -6)]
        special = [float("nan"), float("inf"), -float("inf"), 2.0**-149]
        near_one = 1 + torch.tensor(steps, dtype=torch.float64)
        elements = torch.cat((elements.double(), near_one, torch.tensor(special, dtype=torch.float64)))
    elements = elements.to(dtype)
    mask = elements[torch.randint(0, len(elements), (4, 150))]
    mask[0, : len(elements)] = elements
    for one_in in _READINGS:
        _check(emulated, mask, _ids(4, 150, ids_dtype), one_in=one_in)


@settings(max_examples=60)
@given(st.integers(0, 7), st.integers(1, 300), st.floats(0, 1), st.sampled_from([0, None]), st.integers(0, 2**31))
def test_any_batch(emulated_library, batch_size, padded_len, density, pad_token_id, seed):
    torch.manual_seed(seed)
    mask = torch.rand(batch_size, padded_len) < density
    _check(emulated_library, mask, _ids(batch_size, padded_len), pad_token_id=pad_token_id)


@pytest.mark.parametrize("ids_dtype", [torch.int64, torch.int32], ids=str)
@pytest.mark.parametrize(
    ("name", "rows", "bit"), [("input_ids", 31, 1), ("token_type_ids", 3, 2), ("position_ids", 19, 4)]
)
@pytest.mark.parametrize("padded_len", [1, 7, 1100])
def test_ids_out_of_range(emulated, padded_len, name, rows, bit, ids_dtype):
    """In the first, a middle and the last position, and where the position is dropped."""
    mask = torch.ones(3, padded_len)
    mask[:, 1:] = 0  # all but the first column is padding, unless another word stands there
    clean = _ids(3, padded_len, ids_dtype)
    clean["input_ids"][:, 1:] = 0
    limits = torch.iinfo(ids_dtype)
    for place in sorted({(0, 0), (1, padded_len // 2), (2, padded_len - 1)}):
        for bad in (-1, rows, limits.min, limits.max):
            ids = {key: value.clone() for key, value in clean.items()}
            ids[name][place] = bad
            for pad_token_id in (0, None, bad):
                out = _check(emulated, mask, ids, pad_token_id=pad_token_id)
                assert PackedCounts(*out.counts.tolist()).out_of_range == bit


def test_ids_of_two_dtypes_and_expanded(emulated):
    mask = (torch.rand(4, 33) < 0.5).to(torch.float16)
    ids = {**_ids(4, 33), "token_type_ids": torch.ones(4, 33, dtype=torch.int32)}
    ids["position_ids"] = torch.full((1, 33), -(2**63)).expand(4, 33)
    out = _check(emulated, mask[:1].expand(4, 33), ids)
    assert PackedCounts(*out.counts.tolist()).out_of_range == 4


def test_every_schedule_gathers_every_flag(emulated):
    mask, ids = torch.ones(600, 3), _ids(600, 3)
    ids["input_ids"][599, 2] = ids["token_type_ids"][0, 0] = ids["position_ids"][300, 1] = 99
    for seed in range(6):
        emulated.set_schedule_seed(seed)
        assert PackedCounts(*_check(emulated, mask, ids).counts.tolist()).out_of_range == 7
