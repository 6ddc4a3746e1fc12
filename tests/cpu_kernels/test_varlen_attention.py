"""The CPU kernels of varlen_attention against float64, at every kind of edge."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ops.cases import counts, offsets, randn, varlen_attention_oracle
from tolerances import KERNEL_RATIO, TOLERANCES, assert_no_further_from_truth, relative_error
from torch import Tensor

from bertfast.backends.cpu import CpuBackend
from bertfast.cpu_kernels import serves_attention, varlen_attention
from bertfast.ops.packed_layout import equal_length_runs
from bertfast.ops.varlen_attention import attend_runs
from bertfast.packing import pack, pack_dense

# Of a row of tiles, of a step of keys, of a group of queries, of a task, of a block of keys in each dtype: one less,
# as many, one more.
_LENGTHS = [1, 2, 15, 16, 17, 31, 32, 33, 127, 128, 161, 255, 256, 257, 511, 512, 513, 1100]
_HEAD_SIZES = [1, 2, 5, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 80, 96, 128, 160, 256, 300]


@pytest.fixture(params=[torch.float32, torch.bfloat16], ids=str)
def dtype(request, native):
    if request.param == torch.bfloat16 and not native.features()["amx_bf16"]:
        pytest.skip("bfloat16 needs AMX")
    return request.param


def _truth(qkv: Tensor, lengths: list[int], keys: list[int] | None, scale: float) -> Tensor:
    return attend_runs(qkv.double(), equal_length_runs(len(qkv), offsets(lengths), counts(keys)), scale)


def _attend(qkv: Tensor, lengths: list[int], keys: list[int] | None = None, scale: float = 0.125) -> Tensor:
    return varlen_attention(qkv, offsets(lengths), counts(keys), scale)


def _check(qkv: Tensor, lengths: list[int], keys: list[int] | None, scale: float) -> None:
    found = _attend(qkv, lengths, keys, scale)
    assert found.dtype == qkv.dtype
    assert found.shape == qkv[:, 0].shape
    wanted = _truth(qkv, lengths, keys, scale)
    assert relative_error(found, wanted) <= TOLERANCES[qkv.dtype].op
    assert (found[wanted == 0] == 0).all()


@pytest.mark.parametrize("length", _LENGTHS)
def test_lengths(threads, length, dtype):
    torch.manual_seed(length)
    qkv = randn(length, 3, 2, 64, dtype=dtype)
    _check(qkv, [length], None, 0.125)
    if length > 1:
        _check(qkv, [length], [length - 1], 0.125)
        _check(qkv, [length // 2, length - length // 2], None, 0.125)


@pytest.mark.parametrize("head_size", _HEAD_SIZES)
def test_head_sizes(head_size, dtype):
    lengths = [1, 40, 7, 130, 17]
    torch.manual_seed(head_size)
    qkv = randn(sum(lengths), 3, 3, head_size, dtype=dtype)
    _check(qkv, lengths, None, head_size**-0.5)
    _check(qkv, lengths, [1, 33, 2, 100, 0], head_size**-0.5)


@pytest.mark.parametrize(("lengths", "head_size"), [([128] * 4, 64), ([512], 64), ([700, 3], 32), ([4] * 20, 64)])
def test_as_near_to_float64_as_torch(lengths, head_size, dtype):
    torch.manual_seed(0)
    qkv = randn(sum(lengths), 3, 4, head_size, dtype=dtype)
    stock = attend_runs(qkv, equal_length_runs(len(qkv), offsets(lengths), None), head_size**-0.5)
    truth = _truth(qkv, lengths, None, head_size**-0.5)
    assert_no_further_from_truth(_attend(qkv, lengths, None, head_size**-0.5), stock, truth, KERNEL_RATIO)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.integers(0, 70).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))), max_size=6),
    st.integers(1, 4),
    st.integers(1, 70),
    st.integers(0, 20),
    st.booleans(),
)
def test_any_layout(dtype, layout, num_heads, head_size, spare, all_keys):
    lengths, keys = [n for n, _ in layout], None if all_keys else [k for _, k in layout]
    torch.manual_seed(sum(lengths))
    qkv = randn(sum(lengths) + spare, 3, num_heads, head_size, dtype=dtype)
    qkv[sum(lengths) :] = float("nan")
    found = _attend(qkv, lengths, keys, 0.3)
    used = qkv[: sum(lengths)].double()
    wanted = varlen_attention_oracle(used, lengths, keys, 0.3)
    # Few values may cancel in a sum: the error is measured against the sum of their sizes.
    used[:, 2].abs_()
    size = varlen_attention_oracle(used, lengths, keys, 0.3).norm()
    assert (found[: sum(lengths)] - wanted).norm() <= TOLERANCES[dtype].op * size
    assert (found[sum(lengths) :] == 0).all()


def test_nothing_beside_the_result_is_read_or_written(dtype):
    """Memory before and after holds NaN, which would reach a result, and is there afterwards."""
    for head_size, length in ((64, 16), (33, 17), (5, 3), (64, 130)):
        size = length * 3 * 2 * head_size
        memory = torch.full((size + 2000,), float("nan"), dtype=dtype)
        qkv = memory[1000 : 1000 + size].view(length, 3, 2, head_size)
        qkv.copy_(randn(length, 3, 2, head_size, dtype=dtype))
        assert torch.equal(_attend(qkv, [length]), _attend(qkv.clone(), [length]))
        assert _attend(qkv, [length]).isfinite().all()


def test_a_sequence_does_not_depend_on_its_neighbours(threads, dtype):
    lengths, keys = [300, 1, 37, 128, 16, 5, 530], [300, 1, 20, 100, 16, 0, 500]
    torch.manual_seed(0)
    qkv = randn(sum(lengths), 3, 3, 64, dtype=dtype)
    together = _attend(qkv, lengths, keys).split(lengths)
    for part, found, length, num_keys in zip(qkv.split(lengths), together, lengths, keys, strict=True):
        alone = torch.cat([_attend(part[:, :, n : n + 1].contiguous(), [length], [num_keys]) for n in range(3)], 1)
        assert torch.equal(found, alone)


def test_the_same_bits_from_several_callers_at_once(threads, dtype):
    lengths = [60, 200, 3, 3, 90]
    qkv = randn(sum(lengths), 3, 4, 64, dtype=dtype)
    wanted = _attend(qkv, lengths)
    with ThreadPoolExecutor(6) as pool:
        for found in pool.map(lambda _: _attend(qkv, lengths), range(60)):
            assert torch.equal(found, wanted)


def _places(lengths: list[int], rows: list[int]) -> Tensor:
    """Which rows belong to the sequences of `rows`."""
    found = torch.zeros(sum(lengths), dtype=torch.bool)
    for row in rows:
        end = next(end for end in offsets(lengths)[1:].tolist() if row < end)
        begin = max(begin for begin in offsets(lengths)[:-1].tolist() if begin <= row)
        found[begin:end] = True
    return found


@pytest.mark.parametrize("part", [0, 1, 2])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_nan_and_infinity_reach_what_they_reach_in_stock(part, bad, dtype):
    lengths, rows = [20, 40, 5, 600], [25, 100]
    qkv = randn(sum(lengths), 3, 2, 64, dtype=dtype)
    clean = _attend(qkv, lengths)
    qkv[rows, part, 0, 7] = bad
    found, stock = _attend(qkv, lengths), _truth(qkv, lengths, None, 0.125)
    assert torch.equal(found[:, 1], clean[:, 1])
    untouched = ~_places(lengths, rows)
    assert torch.equal(found[untouched], clean[untouched])
    assert torch.equal(found.isnan(), stock.isnan())
    assert torch.equal(found.double().isposinf(), stock.isposinf())
    assert torch.equal(found.double().isneginf(), stock.isneginf())


def test_rows_beyond_the_keys_are_queries_only(dtype):
    lengths, keys = [40, 21], [33, 1]
    qkv = randn(61, 3, 2, 64, dtype=dtype)
    clean = _attend(qkv, lengths, keys)
    qkv[33:40, 1:] = float("nan")
    qkv[41:, 1:] = float("inf")
    assert torch.equal(_attend(qkv, lengths, keys), clean)


@pytest.mark.parametrize("size", [1e2, 1e4, 1e10, 1e15, 1e18])
def test_huge_scores(size, dtype):
    """Up to 1e37, of which the largest weighs 1: exp of their differences is 0, not NaN."""
    lengths = [40, 3, 600]
    qkv = randn(643, 3, 2, 64, dtype=dtype)
    qkv[:, :2] *= size
    found = _attend(qkv, lengths, None, 1.0)
    wanted = _truth(qkv, lengths, None, 1.0)
    assert found.isfinite().all()
    # Two scores may be one in float32.
    close = (found.double() - wanted).abs().amax(-1) <= 10 * TOLERANCES[dtype].op * wanted.abs().amax()
    assert close.double().mean() > 0.99


def test_the_largest_and_the_smallest_float_as_scores(dtype):
    """Their difference is more than float32 holds."""
    qkv = torch.zeros(3, 3, 1, 16, dtype=dtype)
    qkv[:, 0, 0, 0] = 1.7e19
    qkv[0, 1, 0, 0], qkv[1, 1, 0, 0] = 1.7e19, -1.7e19
    qkv[:, 2, 0] = torch.arange(1, 4, dtype=dtype)[:, None]
    for scale in (1e-30, 1.0, 1e30):
        assert (_attend(qkv, [3], None, scale) == 1).all()
    even = _attend(qkv, [3], None, 1e-44)
    assert relative_error(even, torch.full_like(even, 2).double()) <= TOLERANCES[dtype].op


def test_scores_of_minus_infinity_weigh_nothing(dtype):
    qkv = randn(600, 3, 1, 32, dtype=dtype)
    qkv[:, 0, 0, 0], qkv[:, 1, 0, 0] = 1.0, 0.0
    qkv[50:, 1, 0, 0] = -float("inf")
    assert relative_error(_attend(qkv, [600]), _truth(qkv, [600], None, 0.125)) <= TOLERANCES[dtype].op
    qkv[:50, 1, 0, 0] = -float("inf")
    assert (_attend(qkv, [600]) == 0).all()


def test_equal_keys_are_the_mean_of_the_values(dtype):
    qkv = randn(1000, 3, 1, 64, dtype=dtype)
    qkv[:, 1] = qkv[0, 1]
    mean = qkv[:, 2].double().mean(0, keepdim=True).expand(1000, 1, 64)
    assert relative_error(_attend(qkv, [1000]), mean) <= TOLERANCES[dtype].op


@pytest.mark.parametrize("lengths", [[], [0], [0, 0, 3, 0]])
def test_empty(lengths, dtype):
    qkv = randn(sum(lengths), 3, 2, 64, dtype=dtype)
    _check(qkv, lengths, None, 0.125)
    assert _attend(randn(5, 3, 2, 64, dtype=dtype), []).eq(0).all()


def test_the_backend_calls_it(native, dtype):
    """With the layout that packing makes; what it does not serve goes on to PyTorch."""
    mask = torch.arange(40) < torch.tensor([[40], [3], [17]])
    for packed in (pack(mask, mask), pack(mask, torch.ones_like(mask)), pack_dense(3, 40, mask.device)):
        sequences = packed.sequences
        qkv = randn(packed.num_tokens, 3, 2, 32, dtype=dtype)
        found = CpuBackend().attention(qkv, sequences, 0.2)
        assert torch.equal(found, varlen_attention(qkv, sequences.cu_seqlens, sequences.key_lengths, 0.2))
        double = CpuBackend().attention(qkv.double(), sequences, 0.2)
        assert relative_error(found, double) <= TOLERANCES[dtype].op
        assert relative_error(CpuBackend().attention(qkv.mT.contiguous().mT, sequences, 0.2), double) <= 1e-2


def test_served(native):
    qkv = torch.zeros(2, 3, 2, 8)
    assert serves_attention(qkv)
    assert serves_attention(qkv.bfloat16()) == native.features()["amx_bf16"]
    for other in (qkv.double(), qkv.half(), qkv.mT, qkv.to("meta"), qkv.clone().requires_grad_()):
        assert not serves_attention(other)
    with torch.no_grad():
        assert serves_attention(qkv.clone().requires_grad_())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"qkv": torch.ones(4, 2, 1, 8)}, r"qkv: expected \[4, 3, 1, 8\], got \[4, 2, 1, 8\]"),
        ({"qkv": torch.ones(4, 3, 1, 8).half()}, "qkv: expected torch.float32, contiguous, on cpu, got torch.float16"),
        ({"qkv": torch.ones(4, 3, 8, 2).mT}, "qkv: expected .* with strides"),
        ({"cu_seqlens": torch.tensor([0, 4])}, "cu_seqlens: expected torch.int32, .* got torch.int64"),
        ({"cu_seqlens": torch.ones(0).int()}, r"cu_seqlens: expected \[1\], got \[0\]"),
        ({"cu_seqlens": torch.tensor([1, 4]).int()}, "cu_seqlens: expected offsets from 0, got 1"),
        ({"cu_seqlens": torch.tensor([0, 5]).int()}, "cu_seqlens: .* at most 4 rows, got 0 to 5 of sequence 0"),
        ({"cu_seqlens": torch.tensor([0, 3, 2]).int()}, "cu_seqlens: .* at most 4 rows, got 3 to 2 of sequence 1"),
        ({"key_lengths": torch.tensor([5]).int()}, "key_lengths: expected at most 4 keys, got 5 of sequence 0"),
        ({"key_lengths": torch.tensor([-1]).int()}, "key_lengths: expected at most 4 keys, got -1 of sequence 0"),
        ({"key_lengths": torch.tensor([1, 1]).int()}, r"key_lengths: expected \[1\], got \[2\]"),
        ({"key_lengths": torch.tensor([1])}, "key_lengths: expected torch.int32"),
        ({"scale": 0.0}, "scale: expected a finite number above 0, got 0"),
        ({"scale": float("nan")}, "scale: expected a finite number above 0, got nan"),
    ],
)
def test_refused(changes, words):
    fitting = {"qkv": torch.ones(4, 3, 1, 8), "cu_seqlens": torch.tensor([0, 4]).int(), "key_lengths": None}
    with pytest.raises(ValueError, match=f"^{words}"):
        varlen_attention(**{**fitting, "scale": 1.0, **changes})


def test_bfloat16_needs_amx(native):
    qkv = torch.zeros(2, 3, 1, 8, dtype=torch.bfloat16)
    native.limit_isa("avx512")
    try:
        with pytest.raises(ValueError, match=r"^qkv: expected float32, or bfloat16 on a CPU with AMX"):
            _attend(qkv, [2])
    finally:
        native.limit_isa("amx")


def test_against_scaled_dot_product_attention(dtype):
    """The one other than runs: no packing on the way."""
    qkv = randn(50, 3, 2, 64, dtype=dtype)
    q, k, v = qkv.double().unbind(1)
    wanted = F.scaled_dot_product_attention(q.transpose(0, 1), k.transpose(0, 1), v.transpose(0, 1)).transpose(0, 1)
    assert relative_error(_attend(qkv, [50]), wanted) <= TOLERANCES[dtype].op
