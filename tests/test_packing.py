"""Properties of `bertfast.packing`: whatever the masks, the layout holds each computed position once."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bertfast.packing import pack, pack_dense


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
    bounds = batch.cu_seqlens.tolist()
    order = range(batch.batch_size) if batch.order is None else batch.order.tolist()
    for b, row in enumerate(order):
        positions = flat[bounds[b] : bounds[b + 1]].tolist()
        assert all(position // batch.padded_len == row for position in positions)
        keys = len(positions) if batch.key_lengths is None else int(batch.key_lengths[b])
        yield row, [(position % batch.padded_len, i < keys) for i, position in enumerate(positions)]


@given(_patterns())
def test_each_computed_position_once_and_keys_first(pattern):
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


@given(_patterns())
def test_counts(pattern):
    attended, computed = pattern
    batch = pack(attended, computed)
    assert (batch.batch_size, batch.padded_len) == attended.shape
    assert batch.num_tokens == computed.sum()
    assert batch.max_seqlen == computed.sum(1).max()
    assert batch.fewest_keys == attended.sum(1).min()
    assert batch.cu_seqlens.dtype == torch.int32
    assert batch.cu_seqlens[0] == 0
    assert batch.cu_seqlens[-1] == batch.num_tokens
    assert sorted(batch.cu_seqlens.diff().tolist()) == sorted(computed.sum(1).tolist())
    if batch.key_lengths is None:
        assert torch.equal(attended, computed)
    else:
        assert batch.key_lengths.dtype == torch.int32
        assert not torch.equal(attended, computed)


@given(_patterns())
def test_first_rows_are_column_0(pattern):
    batch = pack(*pattern)
    firsts = batch.columns()[batch.first_rows]
    assert (firsts == 0).all()
    assert batch.first_rows.shape == (batch.batch_size,)
    bounds = batch.cu_seqlens
    assert ((batch.first_rows >= bounds[:-1]) & (batch.first_rows < bounds[1:])).all()


@given(_patterns())
def test_order(pattern):
    """Where something is dropped the longest come first, equals side by side; else the order is the batch's."""
    attended, computed = pattern
    batch = pack(attended, computed)
    lengths = batch.cu_seqlens.diff().tolist()
    if batch.order is None:
        assert lengths == computed.sum(1).tolist()
        assert computed.all()
        return
    assert sorted(batch.order.tolist()) == list(range(batch.batch_size))
    keys = lengths if batch.key_lengths is None else batch.key_lengths.tolist()
    shapes = list(zip(lengths, keys, strict=True))
    assert shapes == sorted(shapes, reverse=True)
    for earlier, later in zip(range(batch.batch_size), range(1, batch.batch_size), strict=False):
        if shapes[earlier] == shapes[later]:
            assert batch.order[earlier] < batch.order[later]


@given(_patterns())
def test_gather_and_scatter_are_inverse(pattern):
    _, computed = pattern
    batch = pack(*pattern)
    grid = torch.arange(1, computed.numel() + 1).view(computed.shape)
    packed = batch.gather(grid)
    assert packed.shape == (batch.num_tokens,)
    back = batch.scatter(torch.stack([packed, -packed], 1).double())
    assert back.shape == (*computed.shape, 2)
    assert torch.equal(back[..., 0], (grid * computed).double())
    assert torch.equal(back[..., 1], -(grid * computed).double())
    assert torch.equal(batch.columns(), (packed - 1) % batch.padded_len)


@given(_patterns())
def test_scatter_first(pattern):
    _, computed = pattern
    batch = pack(*pattern)
    grid = torch.arange(computed.numel()).view(computed.shape)
    first = batch.gather(grid)[batch.first_rows].unsqueeze(1).double()
    assert batch.scatter_first(first).flatten().tolist() == grid[:, 0].tolist()


@pytest.mark.parametrize("shape", [(1, 1), (3, 4)])
def test_dense(shape):
    full = torch.ones(shape, dtype=torch.bool)
    for batch in (pack(full, full), pack_dense(*shape, torch.device("cpu"))):
        assert batch.indices is None
        assert batch.key_lengths is None
        assert batch.order is None
        assert batch.cu_seqlens.tolist() == [row * shape[1] for row in range(shape[0] + 1)]
        assert batch.first_rows.tolist() == [row * shape[1] for row in range(shape[0])]
        rows = torch.randn(batch.num_tokens, 2)
        assert torch.equal(batch.scatter(rows), rows.view(*shape, 2))


def test_right_padding_keeps_rows_in_place():
    """Hidden positions that are all computed, all at the end: the padded layout is the packed one already."""
    attended = torch.tensor([[1, 1, 1], [1, 0, 0]]).bool()
    batch = pack(attended, torch.ones_like(attended))
    assert batch.indices is None
    assert batch.key_lengths.tolist() == [3, 1]
    assert batch.cu_seqlens.tolist() == [0, 3, 6]


def test_gather_takes_any_strides():
    attended = torch.tensor([[1, 1, 0], [1, 1, 1]]).bool()
    batch = pack(attended, attended)
    grid = torch.arange(6).view(2, 3)
    assert batch.gather(grid.t().contiguous().t()).tolist() == [3, 4, 5, 0, 1]
    assert batch.gather(torch.arange(3).expand(2, 3)).tolist() == [0, 1, 2, 0, 1]
