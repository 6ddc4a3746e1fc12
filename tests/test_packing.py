"""Properties of `bertfast.packing`: whatever the masks, the layout holds each computed position once."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bertfast.ops import unpad_input
from bertfast.ops.unpad_input import PackedCounts
from bertfast.packing import pack, pack_dense, packed_on_device


@st.composite
def _patterns(draw):
    """(attended, computed): [B, S] bool; computed holds all attended positions and column 0."""
    rows, columns = draw(st.integers(1, 6)), draw(st.integers(1, 9))

    def grid():
        row = st.lists(st.booleans(), min_size=columns, max_size=columns)
        return torch.tensor(draw(st.lists(row, min_size=rows, max_size=rows)))

    attended = grid()
    # The two shortcuts, nothing dropped and nothing hidden, would hardly be drawn by chance.
    computed = draw(st.sampled_from([grid(), torch.ones_like(attended), attended])) | attended
    if draw(st.integers(0, 9)) == 0:
        attended = torch.ones_like(attended)
        computed = attended.clone()
    computed[:, 0] = True
    return attended, computed


def _rows_of(batch):
    """For each packed sequence: its batch row, and (column, is a key) of its rows, by the layout alone."""
    size = batch.batch_size * batch.padded_len
    flat = torch.arange(size) if batch.indices is None else batch.indices
    assert sorted(flat.tolist()) == list(range(size)), "every position once"
    bounds = batch.sequences.cu_seqlens.tolist()
    order = range(batch.batch_size) if batch.order is None else batch.order.tolist()
    for b, row in enumerate(order):
        positions = flat[bounds[b] : bounds[b + 1]].tolist()
        assert all(position // batch.padded_len == row for position in positions)
        keys = len(positions) if batch.sequences.key_lengths is None else int(batch.sequences.key_lengths[b])
        yield row, [(position % batch.padded_len, i < keys) for i, position in enumerate(positions)]


def _pack_on_device(attended, computed, waits=True):
    """The same layout from `unpad_input`: ids that are the pad token where nothing is computed."""
    pad = 5
    unpadded = unpad_input(attended, torch.where(computed, 1, pad), None, None, 10, 2, 64, pad, None)
    counts = PackedCounts(*unpadded.counts.tolist()) if waits else None
    return packed_on_device(unpadded, attended.shape[1], counts)


_EACH_WAY = pytest.mark.parametrize("pack", [pack, _pack_on_device])


@_EACH_WAY
@given(pattern=_patterns())
def test_each_computed_position_once_and_keys_first(pack, pattern):
    attended, computed = pattern
    batch = pack(attended, computed)
    seen = torch.zeros_like(attended)
    for row, columns in _rows_of(batch):
        for column, is_key in columns:
            assert not seen[row, column]
            seen[row, column] = True
            assert is_key == attended[row, column]
        # In their order, keys as well as the others: neighbours in a text are neighbours in memory.
        for wanted in (True, False):
            part = [column for column, is_key in columns if is_key == wanted]
            assert part == sorted(part)
    assert torch.equal(seen, computed)


@_EACH_WAY
@given(pattern=_patterns())
def test_counts(pack, pattern):
    attended, computed = pattern
    batch = pack(attended, computed)
    assert (batch.batch_size, batch.padded_len) == attended.shape
    assert batch.num_tokens == computed.sum()
    assert batch.sequences.max_seqlen == computed.sum(1).max()
    assert batch.num_keys == attended.sum()
    assert batch.fewest_keys == attended.sum(1).min()
    assert batch.sequences.cu_seqlens.dtype == torch.int32
    assert batch.sequences.cu_seqlens[0] == 0
    assert batch.sequences.cu_seqlens[-1] == batch.num_tokens
    assert sorted(batch.sequences.cu_seqlens.diff().tolist()) == sorted(computed.sum(1).tolist())
    if batch.sequences.key_lengths is None:
        assert torch.equal(attended, computed)
    else:
        assert batch.sequences.key_lengths.dtype == torch.int32
        assert not torch.equal(attended, computed)


@_EACH_WAY
@given(pattern=_patterns())
def test_first_rows_are_column_0(pack, pattern):
    batch = pack(*pattern)
    positions = torch.arange(pattern[0].numel()) if batch.indices is None else batch.rows()
    assert (positions[batch.sequences.first_rows] % batch.padded_len == 0).all()
    assert batch.sequences.first_rows.shape == (batch.batch_size,)
    assert len(batch.sequences) == batch.batch_size
    bounds = batch.sequences.cu_seqlens
    assert ((batch.sequences.first_rows >= bounds[:-1]) & (batch.sequences.first_rows < bounds[1:])).all()


@given(_patterns())
def test_order(pattern):
    """Where something is dropped the longest come first, equals side by side; else the order is the batch's."""
    attended, computed = pattern
    batch = pack(attended, computed)
    lengths = batch.sequences.cu_seqlens.diff().tolist()
    if batch.order is None:
        assert lengths == computed.sum(1).tolist()
        assert computed.all()
        return
    assert sorted(batch.order.tolist()) == list(range(batch.batch_size))
    keys = lengths if batch.sequences.key_lengths is None else batch.sequences.key_lengths.tolist()
    shapes = list(zip(lengths, keys, strict=True))
    assert shapes == sorted(shapes, reverse=True)
    for earlier, later in zip(range(batch.batch_size), range(1, batch.batch_size), strict=False):
        if shapes[earlier] == shapes[later]:
            assert batch.order[earlier] < batch.order[later]


@_EACH_WAY
@given(pattern=_patterns())
def test_rows_are_scattered_to_where_they_came_from(pack, pattern):
    _, computed = pattern
    batch = pack(*pattern)
    grid = torch.arange(1, computed.numel() + 1)
    packed = grid if batch.indices is None else grid[batch.rows()]
    assert packed.shape == (batch.num_tokens,)
    back = batch.scatter(torch.stack([packed, -packed], 1).double())
    wanted = grid.view(computed.shape) * computed
    assert torch.equal(back, torch.stack([wanted, -wanted], 2).double())


@_EACH_WAY
@given(pattern=_patterns())
def test_scatter_first(pack, pattern):
    _, computed = pattern
    batch = pack(*pattern)
    grid = torch.arange(computed.numel())
    packed = grid if batch.indices is None else grid[batch.rows()]
    first = packed[batch.sequences.first_rows].unsqueeze(1).double()
    assert batch.scatter_first(first).flatten().tolist() == grid.view(computed.shape)[:, 0].tolist()


@given(pattern=_patterns())
def test_who_does_not_wait_computes_every_position(pattern):
    attended, computed = pattern
    batch, waited = _pack_on_device(attended, computed, waits=False), _pack_on_device(attended, computed)
    assert (batch.num_tokens, batch.num_keys, batch.fewest_keys) == (attended.numel(), None, None)
    assert batch.sequences.max_seqlen == attended.shape[1]
    assert torch.equal(batch.sequences.cu_seqlens, waited.sequences.cu_seqlens)
    rows = torch.randn(batch.num_tokens, 2)
    rows[int(computed.sum()) :] = torch.nan  # what was computed there is nobody's
    assert torch.equal(batch.scatter(rows), waited.scatter(rows[: waited.num_tokens]))


@pytest.mark.parametrize("shape", [(1, 1), (3, 4)])
def test_dense(shape):
    full = torch.ones(shape, dtype=torch.bool)
    for batch in (pack(full, full), pack_dense(*shape, torch.device("cpu"))):
        assert batch.indices is None
        assert batch.sequences.key_lengths is None
        assert batch.order is None
        assert batch.sequences.cu_seqlens.tolist() == [row * shape[1] for row in range(shape[0] + 1)]
        assert batch.sequences.first_rows.tolist() == [row * shape[1] for row in range(shape[0])]
        rows = torch.randn(batch.num_tokens, 2)
        assert torch.equal(batch.scatter(rows), rows.view(*shape, 2))


def test_right_padding_keeps_rows_in_place():
    """Hidden positions that are all computed, all at the end: the padded layout is the packed one already."""
    attended = torch.tensor([[1, 1, 1], [1, 0, 0]]).bool()
    batch = pack(attended, torch.ones_like(attended))
    assert batch.indices is None
    assert batch.sequences.key_lengths.tolist() == [3, 1]
    assert batch.sequences.cu_seqlens.tolist() == [0, 3, 6]
