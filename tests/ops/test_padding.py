"""``unpad_input``, ``pad_input`` and ``gather_first``, against layouts worked out position by position."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bertfast.ops import gather_first, pad_input, unpad_input
from bertfast.ops.unpad_input import MASK_DTYPES, PackedCounts
from ops.cases import DTYPES, randn

_LIMITS = {"num_words": 31, "num_token_types": 2, "num_positions": 19}
_NO_IDS = {"token_type_ids": None, "position_ids": None, **_LIMITS}


def layout_oracle(attended, computed):
    """attended, computed: lists of rows of bools -> the results of `unpad_input` as lists, no flags."""
    rows, dropped, offsets, keys, first_rows, position = [], [], [0], [], [], 0
    for is_key, is_computed in zip(attended, computed, strict=True):
        positions = [
            (position + column, key, wanted)
            for column, (key, wanted) in enumerate(zip(is_key, is_computed, strict=True))
        ]
        mine = [p for p, key, _ in positions if key] + [p for p, key, wanted in positions if wanted and not key]
        dropped += [p for p, _, wanted in positions if not wanted]
        first_rows.append(len(rows) + mine.index(position))
        rows += mine
        offsets.append(len(rows))
        keys.append(sum(is_key))
        position += len(is_key)
    lengths = [end - start for start, end in pairwise(offsets)]
    counts = [len(rows), max(lengths, default=0), sum(keys), min(keys, default=0), 0]
    return rows + dropped, offsets, keys, first_rows, counts


def assert_layout(result, attended, computed, flags=0):
    wanted = layout_oracle(attended.tolist(), computed.tolist())
    for name, got, expected in zip(result._fields[:4], result, wanted, strict=False):
        assert got.tolist() == expected, name
    assert PackedCounts(*result.counts.tolist()) == PackedCounts(*wanted[4][:4], flags)


@st.composite
def _batches(draw):
    rows, columns = draw(st.integers(0, 6)), draw(st.integers(1, 9))

    def grid():
        row = st.lists(st.integers(0, 1), min_size=columns, max_size=columns)
        return torch.tensor(draw(st.lists(row, min_size=rows, max_size=rows)), dtype=torch.int64).view(rows, columns)

    return grid(), 5 * grid()


@given(_batches(), st.sampled_from([None, 0, 5, 7]))
def test_any_batch(batch, pad_token_id):
    mask, ids = batch
    result = unpad_input(mask, ids, **_NO_IDS, pad_token_id=pad_token_id, one_in=None)
    attended = mask == 1
    computed = attended | (ids != pad_token_id) if pad_token_id is not None else torch.ones_like(attended)
    computed[:, :1] = True
    assert_layout(result, attended, computed)
    assert [part.dtype for part in result] == [torch.int64, torch.int32, torch.int32, torch.int64, torch.int64]


def test_an_empty_batch_without_ids():
    result = unpad_input(torch.ones(0, 4), None, **_NO_IDS, pad_token_id=0, one_in=None)
    assert [part.tolist() for part in result] == [[], [0], [], [], [0, 0, 0, 0, 0]]


@pytest.mark.parametrize("columns", [0, 4])
@pytest.mark.parametrize("pad_token_id", [None, 0])
def test_an_empty_batch(columns, pad_token_id):
    ids = torch.ones(0, columns, dtype=torch.int64)
    result = unpad_input(torch.ones(0, columns), ids, **_NO_IDS, pad_token_id=pad_token_id, one_in=None)
    assert [part.tolist() for part in result] == [[], [0], [], [], [0, 0, 0, 0, 0]]


def test_without_ids_every_position_is_computed():
    mask = torch.tensor([[0, 1, 0], [0, 0, 0]])
    for pad_token_id in (None, 0):
        result = unpad_input(mask, None, **_NO_IDS, pad_token_id=pad_token_id, one_in=None)
        assert_layout(result, mask == 1, torch.ones_like(mask, dtype=torch.bool))


@pytest.mark.parametrize("dtype", MASK_DTYPES, ids=str)
def test_masks_of_every_dtype(dtype):
    """The same columns are seen whatever holds them."""
    mask = torch.tensor([[1, 0, 1, 1, 0], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0]]).to(dtype)
    for one_in in (None, torch.float32, torch.float16, torch.bfloat16):
        result = unpad_input(mask, torch.zeros(3, 5, dtype=torch.int64), **_NO_IDS, pad_token_id=0, one_in=one_in)
        attended = mask == 1
        computed = attended.clone()
        computed[:, 0] = True
        assert_layout(result, attended, computed)


# (element, whether it is not 0, the dtypes in which it is 1)
_FLOATS = [
    (0.0, False, ()),
    (-0.0, False, ()),
    (float("nan"), True, ()),
    (float("inf"), True, ()),
    (-1.0, True, ()),
    (2.0**-149, True, ()),
    (1 + 2.0**-23, True, (torch.float16, torch.bfloat16)),
    (1 - 2.0**-12, True, (torch.float16, torch.bfloat16)),
    (1 + 2.0**-9, True, (torch.bfloat16,)),
]


@pytest.mark.parametrize(("element", "nonzero", "one_in"), _FLOATS)
def test_the_two_readings(element, nonzero, one_in):
    mask = torch.tensor([[1.0, element]])
    for reading in (None, torch.float32, torch.float16, torch.bfloat16):
        result = unpad_input(mask, None, **_NO_IDS, pad_token_id=0, one_in=reading)
        assert result.key_lengths.item() == 1 + (nonzero if reading is None else reading in one_in)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32], ids=str)
@pytest.mark.parametrize(
    ("name", "rows", "bit"), [("input_ids", 31, 1), ("token_type_ids", 2, 2), ("position_ids", 19, 4)]
)
@pytest.mark.parametrize("place", [(0, 0), (0, 4), (1, 2), (2, 4)])
def test_an_id_out_of_range_is_flagged_anywhere(place, name, rows, bit, dtype):
    """At positions that are dropped, too."""
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0]])
    ids = {name: torch.zeros(3, 5, dtype=dtype) for name in ("input_ids", "token_type_ids", "position_ids")}
    limits = torch.iinfo(dtype)
    for pad_token_id in (0, None):
        for bad in (-1, rows, limits.min, limits.max, rows - 1):
            ids[name][place] = bad
            result = unpad_input(mask, **ids, **_LIMITS, pad_token_id=pad_token_id, one_in=None)
            assert PackedCounts(*result.counts.tolist()).out_of_range == (bit if bad != rows - 1 else 0), bad
            ids[name][place] = 0


@pytest.mark.parametrize("name", ["input_ids", "token_type_ids", "position_ids"])
def test_int32_ids_beside_larger_numbers(name):
    """2^32 is 0 in 32 bits, and 2^32 + 5 is 5."""
    mask = torch.tensor([[1, 1, 0]])
    ids = {"token_type_ids": None, "position_ids": None, "input_ids": torch.full((1, 3), 5, dtype=torch.int32)}
    ids[name] = torch.tensor([[5, 0, 5]], dtype=torch.int32)
    limits = dict.fromkeys(_LIMITS, 2**32)
    for pad_token_id in (2**32, 2**32 + 5, -(2**32) + 5, 2**63 - 1):
        result = unpad_input(mask, **ids, **limits, pad_token_id=pad_token_id, one_in=None)
        assert_layout(result, mask == 1, torch.ones_like(mask, dtype=torch.bool))


def test_ids_of_two_dtypes_and_expanded():
    mask = torch.ones(3, 5)
    ids = {
        "input_ids": torch.zeros(3, 5, dtype=torch.int32),
        "token_type_ids": torch.full((3, 5), 2),
        "position_ids": torch.full((1, 5), -(2**63)).expand(3, 5),
    }
    result = unpad_input(mask, **ids, **_LIMITS, pad_token_id=0, one_in=None)
    assert_layout(result, mask == 1, mask == 1, flags=2 | 4)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_there_and_back(dtype):
    """Packed and laid back, computed positions hold what they held, and all others zeros."""
    mask = torch.tensor([[0, 1, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]])
    ids = torch.tensor([[5, 5, 5, 0], [0, 0, 5, 0], [5, 5, 5, 5]])
    unpadded = unpad_input(mask, ids, **_NO_IDS, pad_token_id=0, one_in=None)
    padded = randn(12, 8, dtype=dtype)
    padded[3] = padded[[5, 7]] = 0
    num_tokens = int(unpadded.counts[0])
    assert num_tokens == 9
    packed = padded[unpadded.indices[:num_tokens]]
    assert torch.equal(pad_input(packed, unpadded.indices), padded)
    assert torch.equal(gather_first(packed, unpadded.first_rows), padded[[0, 4, 8]])
    # A buffer of more rows than there are tokens, or even positions.
    for rest in (1, 20):
        buffer = torch.cat((packed, torch.full((rest, 8), float("nan"), dtype=dtype)))
        assert torch.equal(pad_input(buffer, unpadded.indices, unpadded.cu_seqlens[-1:]), padded)


@pytest.mark.parametrize(("num_tokens", "rows"), [(-5, 0), (0, 0), (3, 3), (4, 4), (2**31 - 1, 4)])
def test_rows_that_are_laid_back(num_tokens, rows):
    """Neither more than x has nor less than none."""
    x, indices = randn(4, 3), torch.tensor([5, 0, 3, 1, 2, 4])
    out = pad_input(x, indices, torch.tensor([num_tokens], dtype=torch.int32))
    wanted = torch.zeros(6, 3, dtype=torch.float64)
    wanted[indices[:rows]] = x[:rows]
    assert torch.equal(out, wanted)
    assert out.is_contiguous()


def test_nothing_to_lay_back():
    nothing = torch.zeros(0, dtype=torch.int64)
    assert pad_input(randn(0, 3), nothing).shape == (0, 3)
    assert torch.equal(pad_input(randn(0, 3), torch.tensor([1, 0])), torch.zeros(2, 3, dtype=torch.float64))
    assert gather_first(randn(0, 3), nothing).shape == (0, 3)
