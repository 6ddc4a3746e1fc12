"""The benchmarks' arithmetic and choices; their figures need a GPU."""

from __future__ import annotations

import contextlib
import math

import pytest
import torch

from benchmarks.gpu.budget import Deadline
from benchmarks.gpu.encoder import bench as bench_encoder
from benchmarks.gpu.encoder.bench import Session
from benchmarks.gpu.encoder.candidates import CANDIDATES, OURS, Candidate, make_inputs
from benchmarks.gpu.encoder.rows import Result, meets
from benchmarks.gpu.encoder.workloads import BASE, LARGE, TINY, Goal, Workload, ragged_lengths, workloads
from benchmarks.gpu.kernels import bench as bench_kernels
from benchmarks.gpu.kernels.cases import Calls, make_cases
from benchmarks.gpu.kernels.ceilings import Ceilings
from benchmarks.gpu.timers import CpuTimer, Spread, interleave
from bertfast import ops
from bertfast.roofline.work import Shape, Work

_CEILINGS = Ceilings(1e12, {"bfloat16": 100e12, "float32": 10e12})


@pytest.mark.parametrize(
    ("work", "dtype", "limit", "seconds"),
    [
        (Work(6e9, 4e9), "bfloat16", "copy", 0.01),
        (Work(1e9, 0, tensor_flops=2e12), "bfloat16", "gemm", 0.02),
        (Work(1e9, 0, flops=1e12), "float32", "float32", 0.1),
        (Work(1e9, 0, flops=1e10, tensor_flops=1e10), "bfloat16", "copy", 0.001),
    ],
)
def test_the_ceiling_that_binds(work, dtype, limit, seconds):
    assert bench_kernels.bound(work, _CEILINGS, dtype) == (limit, pytest.approx(seconds))


def test_the_ceilings_are_named_in_one_line():
    line = "copy 1000 GB/s; matrix products: bfloat16 100.0 TFLOP/s, float32 10.0 TFLOP/s"
    assert bench_kernels.describe_ceilings(_CEILINGS) == line


def test_full_and_ragged_work_agree_where_they_meet():
    shape = Shape(batch=4, length=64, element_bytes=2)
    (full,) = (c for c in make_cases("base", shape, (64,) * 4, torch.bfloat16) if c.op == "varlen_attention")
    (ragged,) = (c for c in make_cases("base", shape, (64, 64, 64, 63), torch.bfloat16) if c.op == "varlen_attention")
    assert not full.is_ragged
    assert ragged.is_ragged
    products = 4 * 768 * (3 * 64**2 + 63**2)
    assert ragged.work.tensor_flops == products
    assert full.work.tensor_flops == 4 * 768 * 4 * 64**2
    assert 0.98 < ragged.work.read_bytes / full.work.read_bytes < 1


def test_every_row_has_work():
    for case in bench_kernels.all_cases(dry=False):
        assert case.work.read_bytes > 0
        assert case.work.written_bytes > 0


def test_what_is_far_from_pytorch_is_not_timed(monkeypatch):
    (case, *_) = bench_kernels.all_cases(dry=True)
    monkeypatch.setattr(bench_kernels, "relative_error", lambda *given: math.nan)
    with pytest.raises(ValueError, match=r"varlen_attention tiny B3 S8 float32: relative error nan .* not timed"):
        bench_kernels.measure(case, CpuTimer(), _CEILINGS, 2)


def test_every_op_is_measured_and_gives_pytorchs_result():
    rows = [bench_kernels.measure(case, CpuTimer(), _CEILINGS, 2) for case in bench_kernels.all_cases(dry=True)]
    assert {row.op for row in rows} == set(ops.__all__)
    for row in rows:
        assert (row.error is None) == (row.op == "unpad_input")
        assert row.error is None or row.error < 1e-5


def _calls_at(op, batch=4, length=64, lengths=None):
    lengths = lengths or (length,) * batch
    shape = Shape(batch, length, 2, hidden=64, heads=2, inner=128)
    (case,) = (c for c in make_cases("base", shape, lengths, torch.bfloat16) if c.op == op)
    return case.make(torch.device("cpu"))


@pytest.mark.parametrize(
    ("op", "ours", "theirs"),
    [
        # T 256, H 64, I 128, two bytes an element, eight an id.
        ("bias_gelu", 256 * 128 * 2, 256 * 128 * 2),
        ("residual_layer_norm", 2 * 256 * 64 * 2, 2 * 256 * 64 * 2),
        ("varlen_attention", 3 * 256 * 64 * 2, 3 * 256 * 64 * 2),
        ("first_token_attention", (4 + 2 * 256) * 64 * 2, (4 + 2 * 256) * 64 * 2),
        ("unpad_input", 4 * 256 * 8, 0),
        ("pad_input", 256 * (64 * 2 + 8), 257 * 64 * 2 + 256 * 8),
        ("gather_first", 4 * (64 * 2 + 8), 4 * (64 * 2 + 8)),
    ],
)
def test_the_bytes_that_each_side_reads(op, ours, theirs):
    calls = _calls_at(op)
    assert (calls.reads, calls.their_reads) == (ours, theirs)


def test_each_side_reads_its_own_layout():
    calls = _calls_at("varlen_attention", lengths=(64, 1, 1, 1))
    assert calls.reads == 3 * 67 * 64 * 2
    assert calls.their_reads == 3 * 256 * 64 * 2
    assert calls.holds == calls.reads + calls.their_reads


def test_of_a_table_only_the_rows_that_are_read_count():
    calls = _calls_at("embedding_layer_norm")
    # At most a word for each token, one type and 64 positions; four ids for ours, three for theirs.
    assert calls.reads <= (256 + 1 + 64) * 64 * 2 + 4 * 256 * 8
    assert calls.reads - calls.their_reads == 256 * 8
    assert calls.holds > 30522 * 64 * 2


def _rotated(**changes):
    timer = CpuTimer()
    timer.cache_bytes = 1000
    given = {"reads": 250, "their_reads": 100, "holds": 1000, **changes}
    return bench_kernels.rotation(Calls(lambda: None, lambda: None, **given), timer)


def test_inputs_rotate_until_three_caches_have_been_read():
    assert _rotated() == 30
    assert _rotated(their_reads=101) == 30
    assert _rotated(their_reads=4000) == 12
    assert _rotated(reads=5000, their_reads=5000) == 1
    assert _rotated(their_reads=1) == 256
    assert _rotated(holds=(1 << 26) // 8) == 4


@pytest.mark.parametrize(("cache_bytes", "cold"), [(1 << 10, True), (1 << 24, False)])
def test_a_row_is_cold_only_if_its_inputs_leave_the_cache(cache_bytes, cold):
    timer = CpuTimer()
    timer.cache_bytes = cache_bytes
    (case,) = (c for c in bench_kernels.all_cases(dry=True) if c.op == "gather_first")
    assert bench_kernels.measure(case, timer, _CEILINGS, 2).cold is cold


@pytest.mark.parametrize("alive", [True, False])
def test_an_error_ends_the_rest_only_with_the_context(alive, monkeypatch, capsys):
    every, saved, found = list(bench_kernels.all_cases(dry=True)), [], bench_kernels.Found()
    measure = bench_kernels.measure

    def fails_first(case, *given):
        if case is every[0]:
            raise RuntimeError("an illegal memory access was encountered")
        return measure(case, *given)

    monkeypatch.setattr(bench_kernels, "measure", fails_first)
    monkeypatch.setattr(bench_kernels, "is_alive", lambda timer: alive)
    bench_kernels.measure_all(every, CpuTimer(), _CEILINGS, 2, Deadline(60), found, lambda: saved.append(1))
    assert len(found.errors) == 1
    assert "illegal memory access" in found.errors[0]
    assert len(found.rows) == (len(every) - 1 if alive else 0)
    assert len(saved) == (len(every) if alive else 0)
    assert found.left_out == ([] if alive else ["all after an error that ended CUDA's context"])


def test_turns_are_taken():
    class Recorded:
        order: list[str] = []  # noqa: RUF012

        def __init__(self, name):
            self.name = name

        def run_us(self):
            self.order.append(self.name)
            return float(len(self.order))

    spreads = interleave({"a": Recorded("a"), "b": Recorded("b")}, 3)
    assert Recorded.order == ["a", "b", "b", "a", "a", "b"]
    assert spreads["a"] == Spread(4.0, 2.5, 4.5, 3)


# Encoders.


def test_ragged_lengths_are_drawn_once_and_for_all():
    assert ragged_lengths(4, 384) == ragged_lengths(4, 384)
    lengths = ragged_lengths(1000, 384)
    assert min(lengths) >= 16
    assert max(lengths) <= 384
    assert 150 < sorted(lengths)[500] < 170
    assert max(ragged_lengths(100, 32)) <= 32


def test_the_goals_come_first_and_everything_comes_once():
    every = list(workloads(dry=False))
    goals = [str(w) for w in every if w.goal is not None]
    assert goals == [str(w) for w in every[:3]]
    assert goals == ["base bfloat16 B32 S128", "base bfloat16 B1 S128", "large bfloat16 B32 S384 ragged"]
    assert len({str(w) for w in every}) == len(every)
    # Two models, two dtypes, four lengths, four batches, full and ragged; and one in float32.
    assert len(every) == 2 * 2 * 4 * 4 * 2 + 1


def test_flops_of_bert_base():
    workload = Workload(BASE, torch.bfloat16, 128, (128,) * 32)
    tokens = 32 * 128
    assert workload.flops == 12 * (24 * 768**2 * tokens + 4 * 128 * 768 * tokens)
    assert (
        Workload(LARGE, torch.bfloat16, 128, (128, 64)).flops < 2 * Workload(LARGE, torch.bfloat16, 128, (128,)).flops
    )


def test_inputs_are_padded_on_the_right():
    batch = make_inputs(Workload(TINY, torch.float32, 5, (5, 2)), torch.device("cpu"))
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]]
    assert ((batch["input_ids"] > 0) == batch["attention_mask"].bool()).all()


def _result(latency_ms, sequences_per_s=1.0):
    spread = Spread(latency_ms * 1e3, 0, 0, 7)
    return Result(spread, spread, sequences_per_s, 1.0, 0.0)


@pytest.mark.parametrize(
    ("goal", "ours", "ratio", "met"),
    [
        (Goal(1.3, latency_ms=1.5), _result(1.5), 1.3, True),
        (Goal(1.3, latency_ms=1.5), _result(1.6), 2.0, False),
        (Goal(1.3, latency_ms=1.5), _result(1.0), 1.2, False),
        (Goal(2.5, sequences_per_s=4650), _result(9.0, 4700.0), 2.6, True),
        (Goal(2.5, sequences_per_s=4650), _result(9.0, 4600.0), 2.6, False),
        (Goal(1.3, latency_ms=1.5), _result(1.0), None, None),
        (Goal(1.3, latency_ms=1.5), None, 2.0, None),
        (None, _result(1.0), 2.0, None),
    ],
)
def test_goals(goal, ours, ratio, met):
    assert meets(Workload(BASE, torch.bfloat16, 128, (128,), goal), ours, ratio) is met


@pytest.fixture
def session():
    return Session(CpuTimer(), Deadline(100), rounds=2, dry=False)


def _compiler():
    return Candidate("compiler", lambda *given: pytest.fail("made"), compile_s=30)


@pytest.mark.parametrize(
    ("wanted", "kept", "seen", "words"),
    [
        (True, 0, None, None),
        (True, 80, None, "no time to compile (30 s expected)"),
        (True, 0, 90, "no time to compile (90 s expected)"),
        (True, 80, 5, None),
        (False, 0, None, "no time to compile (30 s expected)"),
    ],
)
def test_a_compiler_runs_if_its_time_fits(session, wanted, kept, seen, words):
    if seen is not None:
        session.compile_s["compiler"] = seen
    workload = Workload(TINY, torch.float32, 8, (8,))
    assert bench_encoder._reason_against(session, _compiler(), workload, wanted, kept) == words


def test_a_wrong_result_is_not_timed_and_fails_the_stage(session, capsys):
    workload = Workload(TINY, torch.float32, 3, (3, 1))
    right = torch.tensor([[1.0, 2.0, 3.0], [4.0, 0.0, 0.0]])
    wrong = right.clone()
    wrong[1, 0] = 5
    elsewhere = right.clone()
    elsewhere[1, 1] = torch.nan  # padding
    outputs = {"sdpa": right, OURS: wrong, "other": elsewhere}
    forwards = dict.fromkeys(outputs, lambda: right)
    errors = bench_encoder._check(session, workload, forwards, outputs)
    assert list(forwards) == ["sdpa", "other"]
    assert errors["other"] == 0
    assert len(session.errors) == 1
    assert OURS in session.errors[0]
    assert session.left_out == []


def test_another_that_fails_is_left_out_aloud(session, monkeypatch, capsys):
    def fails(workload, device):
        raise RuntimeError("triton is broken")

    monkeypatch.setattr(bench_encoder, "CANDIDATES", (*CANDIDATES[:2], Candidate("other", fails)))
    bench_encoder.measure(session, Workload(TINY, torch.float32, 8, (8, 4)), with_compilers=True, kept_s=0)
    (row,) = session.rows.values()
    assert row.results.keys() == {OURS, "sdpa"}
    assert session.errors == []
    assert any("triton is broken" in line for line in session.left_out)
    assert "FAILED" in capsys.readouterr().out


@pytest.mark.parametrize("alive", [True, False])
def test_an_error_while_timing_costs_one_row(session, alive, monkeypatch, capsys):
    every = list(workloads(dry=True))
    make_row = bench_encoder.make_row

    def fails_first(timer, workload, *given):
        if workload is every[0]:
            raise RuntimeError("an illegal memory access was encountered")
        return make_row(timer, workload, *given)

    session.dry = True
    monkeypatch.setattr(bench_encoder, "workloads", lambda dry: every)
    monkeypatch.setattr(bench_encoder, "make_row", fails_first)
    monkeypatch.setattr(bench_encoder, "is_alive", lambda timer: alive)
    ends = contextlib.nullcontext() if alive else pytest.raises(bench_encoder._ContextEnded)
    with ends:
        bench_encoder.run(session, lambda: None)
    assert list(session.rows) == ([str(every[1])] if alive else [])
    assert len(session.errors) == 1
    assert "illegal memory access" in session.errors[0]


def test_too_little_memory_is_no_defect(session, monkeypatch):
    def fills(*given):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(bench_encoder, "CANDIDATES", (Candidate(OURS, fills),))
    bench_encoder.measure(session, Workload(TINY, torch.float32, 8, (8, 4)), with_compilers=False, kept_s=0)
    monkeypatch.setattr(bench_kernels, "measure", fills)
    found = bench_kernels.Found()
    every = bench_kernels.all_cases(dry=True)
    bench_kernels.measure_all(every, CpuTimer(), _CEILINGS, 2, Deadline(60), found, lambda: None)
    assert session.errors == found.errors == []
    assert "more memory than this GPU has" in session.left_out[0]
    assert "more memory than this GPU has" in found.left_out[0]


def test_what_there_is_no_time_for_is_listed(session):
    session.deadline = Deadline(0)
    bench_encoder.run(session, lambda: None)
    assert session.rows == {}
    assert len(session.left_out) >= len(list(workloads(dry=False)))
