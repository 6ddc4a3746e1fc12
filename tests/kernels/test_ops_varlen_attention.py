"""The kernels of ``varlen_attention`` against float64 and against torch's own."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ops.cases import OPS, counts, offsets, randn
from tolerances import KERNEL_RATIO, TOLERANCES, assert_no_further_from_truth, relative_error

_F32, _F16, _BF16 = torch.float32, torch.float16, torch.bfloat16
_DTYPES = [_F32, _F16, _BF16]
# (dtype, head size, compute capability): a way through the launcher each, but for the length.
_PATHS = [(_F16, 64, 80), (_BF16, 32, 80), (_F16, 32, 75), (_F32, 40, 80)]
# Around the tiles of 16, 64 and 128 rows.
_EDGES = [*range(1, 19), 31, 32, 33, 63, 64, 65, 127, 128, 129, 191, 192, 193]


def _check(emulated, qkv, lengths, keys=None, scale=None, max_seqlen=None):
    scale = scale or qkv.shape[3] ** -0.5
    arguments = (offsets(lengths), counts(keys), max_seqlen or max(lengths, default=0), scale)
    out = emulated.varlen_attention(qkv, *arguments)
    assert out.dtype == qkv.dtype
    truth = torch.ops.bertfast.varlen_attention(qkv.double(), *arguments)
    assert relative_error(out, truth) <= TOLERANCES[qkv.dtype].op, lengths
    assert (out[truth == 0] == 0).all(), lengths
    reference = torch.ops.bertfast.varlen_attention(qkv, *arguments)
    assert_no_further_from_truth(out, reference, truth, KERNEL_RATIO)


def _check_lengths(emulated, path, lengths):
    dtype, head_size, compute_capability = path
    emulated.set_compute_capability(compute_capability)
    for length in lengths:
        _check(emulated, randn(length, 3, 1, head_size, dtype=dtype), [length])


@pytest.mark.parametrize("path", _PATHS, ids=str)
def test_lengths_around_the_tiles(emulated, path):
    _check_lengths(emulated, path, _EDGES)


@pytest.mark.slow
@pytest.mark.parametrize("path", _PATHS, ids=str)
def test_every_length(emulated, path):
    _check_lengths(emulated, path, range(1, 301))


@pytest.mark.parametrize("lengths", [[9, 0, 33], [70, 1, 100], [130, 16]], ids=str)
@pytest.mark.parametrize("dtype", _DTYPES, ids=str)
@pytest.mark.parametrize("head_size", [1, 5, 16, 31, 32, 48, 64, 96, 128, 200, 256])
def test_head_sizes(emulated, head_size, dtype, lengths):
    _check(emulated, randn(sum(lengths), 3, 2, head_size, dtype=dtype), lengths)


_LAYOUTS = {
    "queries that are no keys": ([4, 40, 90, 1], [2, 17, 64, 1]),
    "a sequence without keys": ([30, 40, 3], [30, 0, 2]),
    "no keys at all": ([3, 20], [0, 0]),
    "empty sequences": ([0, 30, 0, 0, 20, 0], None),
    "empty sequences with keys given": ([0, 30, 0, 20], [0, 10, 0, 20]),
    "only empty sequences": ([0, 0], None),
    "no sequences": ([], None),
}


@pytest.mark.parametrize("dtype", _DTYPES, ids=str)
@pytest.mark.parametrize("layout", _LAYOUTS)
def test_layouts(emulated, layout, dtype):
    lengths, keys = _LAYOUTS[layout]
    _check(emulated, randn(sum(lengths), 3, 2, 64, dtype=dtype), lengths, keys)


_ROWS_AND_KEYS = st.integers(0, 80).flatmap(lambda rows: st.tuples(st.just(rows), st.integers(0, rows)))


@settings(max_examples=60)
@given(st.lists(_ROWS_AND_KEYS, max_size=6), st.sampled_from(_DTYPES), st.sampled_from([3, 32, 64]), st.booleans())
def test_ragged_batches(emulated_library, layout, dtype, head_size, are_keys_given):
    lengths, keys = [rows for rows, _ in layout], [keys for _, keys in layout]
    torch.manual_seed(sum(lengths))
    qkv = randn(sum(lengths), 3, 2, head_size, dtype=dtype)
    _check(emulated_library, qkv, lengths, keys if are_keys_given else None)


@pytest.mark.parametrize(("head_size", "length"), [(1, 512), (1, 1024), (8, 1024)])
def test_errors_do_not_add_up_over_keys(emulated, head_size, length):
    """In small heads, where scores have no error that would hide it."""
    _check(emulated, randn(length, 3, 2, head_size, dtype=torch.float32), [length])


@pytest.mark.parametrize("dtype", [_F16, torch.float32], ids=str)
@pytest.mark.parametrize("lengths", [[], [0, 0]], ids=str)
def test_empty_sequences_beside_spare_rows(emulated, lengths, dtype):
    """Rows of a buffer that no sequence has."""
    qkv = randn(5 if lengths else 0, 3, 2, 64, dtype=dtype)
    for max_seqlen in (0, 7):
        for op in (emulated.varlen_attention, torch.ops.bertfast.varlen_attention):
            assert op(qkv, offsets(lengths), None, max_seqlen, 0.125).shape == (len(qkv), 2, 64)


@pytest.mark.parametrize("max_seqlen", [33, 64, 65, 128, 129, 512, 2**40])
def test_any_bound_on_the_lengths(emulated, max_seqlen):
    """It chooses the kernel, and must not change the result."""
    lengths = [33, 5, 20]
    _check(emulated, randn(sum(lengths), 3, 2, 64, dtype=_F16), lengths, max_seqlen=max_seqlen)


@pytest.mark.parametrize("length", [20, 150])
@pytest.mark.parametrize("dtype", _DTYPES, ids=str)
def test_large_scores(emulated, dtype, length):
    """Scores of several hundred: exp of them overflows unless the largest is taken off first."""
    qkv = 20 * randn(length, 3, 2, 64, dtype=dtype)
    arguments = (offsets([length]), None, length, 1.0)
    out = emulated.varlen_attention(qkv, *arguments)
    truth = torch.ops.bertfast.varlen_attention(qkv.double(), *arguments)
    assert out.isfinite().all()
    assert relative_error(out, truth) <= 100 * TOLERANCES[dtype].op


@pytest.mark.parametrize("path", _PATHS, ids=str)
def test_rows_beyond_the_keys_are_never_read(emulated, path):
    dtype, head_size, compute_capability = path
    emulated.set_compute_capability(compute_capability)
    lengths, keys = [50, 40], [30, 10]
    qkv = randn(90, 3, 2, head_size, dtype=dtype)
    arguments = (offsets(lengths), counts(keys), 50, 0.2)
    clean = emulated.varlen_attention(qkv, *arguments)
    dirty = qkv.clone()
    dirty[30:50, 1:] = float("nan")
    dirty[60:, 1:] = float("nan")
    assert torch.equal(emulated.varlen_attention(dirty, *arguments), clean)


def _refusal(emulated, **changes):
    with pytest.raises(ValueError, match=r"^\w+: expected ") as refusal:
        emulated.varlen_attention(**{**OPS["varlen_attention"].make(7, _F32), **changes})
    return str(refusal.value)


def test_what_no_kernel_does_is_refused(emulated):
    wide = torch.zeros(7, 3, 1, 257)
    assert _refusal(emulated, qkv=wide) == "qkv: expected at most 256 along axis 3, got 257"
    # Above 0, but not in float32.
    assert _refusal(emulated, scale=1e-60) == "scale: expected a finite number above 0, got 1e-60"
    emulated.set_compute_capability(75)
    wanted = "qkv: expected torch.float32 or torch.float16 below compute capability 8.0, got torch.bfloat16"
    assert _refusal(emulated, qkv=torch.zeros(7, 3, 2, 12, dtype=_BF16)) == wanted
