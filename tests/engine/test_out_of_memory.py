"""Memory that is short during a forward: what is told, what is freed, and that the next call works."""

from __future__ import annotations

import gc
import re

import pytest
import torch
from fake_gpu import FakeGpu
from tolerances import assert_same_output

import bertfast
from bertfast import OutOfMemoryError, engines
from bertfast.backends import cpu
from bertfast.graphs import GraphCache, GraphLimits
from bertfast.health import free_locals

# As torch says it, on a GPU and on a CPU, and as C++ and cuBLAS do.
_ERRORS = {
    "CUDA": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of ..."),
    "CUDA's own": torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might be ..."),
    "cuBLAS": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    "CPU": RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
    "C++ in torch": RuntimeError("std::bad_alloc"),
    "C++": MemoryError("std::bad_alloc"),
}


@pytest.mark.parametrize("grad", [True, False], ids=["grad", "no grad"])
@pytest.mark.parametrize("error", _ERRORS.values(), ids=_ERRORS)
def test_what_is_told(error, grad, make_config, fake_gpu, stock_and_fast, make_batch):
    config = make_config("relu-3x3x5")
    pair, batch = stock_and_fast("BertModel", config, cuda_graphs=False), make_batch(config)
    pair.check(**batch)
    calls = bertfast.stats()
    fake_gpu.errors = [error]
    with torch.set_grad_enabled(grad), pytest.raises(OutOfMemoryError) as raised:
        pair.fast(**batch)
    counted = batch["attention_mask"].sum() if fake_gpu.rows == 0 else "an uncounted number of"
    assert f"a batch of 5 sequences, padded to [5, 13], of {counted} real tokens, of which " in str(raised.value)
    assert str(error).splitlines()[0].rstrip(".") in str(raised.value)
    # What is caught where stock runs catches it.
    assert isinstance(raised.value, (torch.OutOfMemoryError if isinstance(error, RuntimeError) else MemoryError))
    assert raised.value.__cause__ is error
    assert bertfast.stats() == calls, "a call was counted"
    assert bertfast.explain(pair.fast).healthy
    pair.check(**batch)


def _refused(model, gpu, batch):
    gpu.errors = [_ERRORS["CUDA"]]
    with pytest.raises(OutOfMemoryError) as raised:
        model(**batch)
    return raised.value


@torch.no_grad()
def test_how_many_tokens_to_try_next(make_config, make_gpu, stock_and_fast, make_batch):
    gpu, config = make_gpu(), make_config("relu-3x3x5")
    fast = stock_and_fast("BertModel", config, cuda_graphs=False, pad_outputs="zero").fast
    for _ in range(2):
        error = _refused(fast, gpu, make_batch(config, (13, 9, 10)))
        assert error.max_tokens == 16
        assert "split the batch, 16 tokens a call at most (half of these: how many fit is not known)" in str(error)
        # What fits now says nothing of a call that computes something else.
        fast(**make_batch(config, (13, 9)))
    # Every sequence fits.
    for lengths in ((3, 13, 3), (13, 1)):
        error = _refused(fast, gpu, make_batch(config, lengths))
        assert error.max_tokens == 13
        assert "13 tokens a call at most (those of the longest sequence: if it finds no memory alone, cut" in str(error)
    error = _refused(fast, gpu, make_batch(config, (13,)))
    assert error.max_tokens is None
    assert str(error).endswith("one sequence cannot be split: cut the text, or free memory")


@torch.no_grad()
def test_the_error_holds_no_activations(make_config, make_gpu, stock_and_fast, make_batch):
    """Who goes on with less inside of the ``except`` clause has the memory for it."""
    gpu, config = make_gpu(), make_config("relu-3x3x5")
    fast, batch = stock_and_fast("BertModel", config, cuda_graphs=False).fast, make_batch(config, (13, 8))
    fast(**batch)
    gc.collect()
    before = _activations()
    error = _refused(fast, gpu, batch)
    # Less than before: the runner has given its buffer back.
    assert _activations() == before - 1, error


def test_the_pooler_and_its_hooks_are_the_users(pair, batch):
    """Their errors stay as they are, and so do the frames that they came through."""
    for error in (MemoryError("a user's"), RuntimeError("out of memory"), _QuotaError("out of memory")):
        hook = pair.fast.pooler.register_forward_hook(lambda *_, error=error: _raise(error))
        with pytest.raises(type(error)) as raised:
            pair.fast(**batch)
        hook.remove()
        assert raised.value is error
        assert "local" in raised.traceback[-1].locals


class _QuotaError(RuntimeError):
    pass


def _raise(error):
    local = error
    raise local


@torch.no_grad()
def test_a_class_of_somebodys_own_is_not_read(pair, batch, fake_gpu):
    fake_gpu.errors = [error := _QuotaError("CUDA out of memory")]
    with pytest.raises(_QuotaError) as raised:
        pair.fast(**batch)
    assert raised.value is error


def test_frames_of_others_are_left_alone():
    def suspended():
        try:
            raise MemoryError
        except MemoryError as error:
            yield error
            yield "went on"

    kept = suspended()
    free_locals(next(kept))
    assert next(kept) == "went on"


def _activations():
    return sum(type(thing) is torch.Tensor and thing.is_floating_point() for thing in gc.get_objects())


@torch.no_grad()
def test_graphs_are_given_back(make_config, make_gpu, stock_and_fast, make_batch):
    gpu, config = make_gpu(), make_config("gelu-1x2x32")
    pair, batch = stock_and_fast("BertModel", config), make_batch(config)
    for _ in range(3):
        pair.check(**batch)
    report = bertfast.explain(pair.fast)
    assert (report.cuda_graphs, report.cuda_graph_bytes, report.buffer_bytes > 0) == (1, 1000, True)
    _refused(pair.fast, gpu, make_batch(config, (12,) * 40))
    report = bertfast.explain(pair.fast)
    assert (report.cuda_graphs, report.cuda_graph_bytes, report.buffer_bytes) == (0, 0, 0)
    for _ in range(3):
        pair.check(**batch)
    assert bertfast.explain(pair.fast).cuda_graphs == 1


@torch.no_grad()
def test_a_call_inside_of_another_takes_nothing_from_it(make_config, make_gpu, stock_and_fast, make_batch):
    """A signal handler's call that finds no memory, in the middle of one of the same thread."""
    gpu, config = make_gpu(), make_config("gelu-1x2x32")
    pair, batch = stock_and_fast("BertModel", config), make_batch(config)
    expected = [pair.fast(**batch) for _ in range(3)][-1]
    runner = engines.of(pair.fast).preparation.runner
    find = runner.graphs.run

    def interrupted(key, run):
        runner.graphs.run = find
        _refused(pair.fast, gpu, batch)
        return find(key, run)

    runner.graphs.run = interrupted
    assert_same_output(pair.fast(**batch), expected, 0)
    assert len(runner.graphs) == 1


@torch.no_grad()
@pytest.mark.parametrize("error", [_ERRORS["CUDA"], _ERRORS["CPU"]], ids=["type", "text"])
def test_a_capture_that_finds_no_memory_frees_the_others(error, make_gpu, caplog):
    pool = FakeGpu().make_graph_pool()
    cache = GraphCache(pool, GraphLimits())
    with pool.exclusive():
        assert cache.capture("a", lambda: torch.ones(1))
        pool.fails = error
        assert not cache.capture("b", lambda: torch.ones(1))
        assert (len(cache), cache.num_bytes) == (0, 0)
        for value in (2.0, 3.0):
            assert cache.run("b", lambda value=value: torch.full((1,), value)) == value
    assert any(re.search("could not be captured: .*memory", text) for text in caplog.messages)


def test_another_error_of_launches_is_no_reason_to_repeat_them():
    pool = FakeGpu().make_graph_pool()
    pool.fails = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    with pool.exclusive(), pytest.raises(RuntimeError, match="mat1"):
        GraphCache(pool, GraphLimits()).capture("a", lambda: torch.ones(1))


@torch.no_grad()
def test_before_anything_is_computed(pair, batch, monkeypatch):
    """While weights are copied, or the batch is laid out."""
    monkeypatch.setattr("bertfast.engine.plan_call", _fail)
    with pytest.raises(
        OutOfMemoryError, match=r"before anything was computed, .*std::bad_alloc.*smaller batch"
    ) as raised:
        pair.fast(**batch)
    assert raised.value.max_tokens is None
    monkeypatch.undo()
    pair.check(**batch)


@torch.no_grad()
def test_in_the_first_call_nothing_needs_more(pair, batch, monkeypatch):
    """What makes later calls faster may wait, and the handler asks for no more."""
    monkeypatch.setattr(cpu, "_teach_malloc", _fail)
    pair.check(**batch)
    bertfast.restore(pair.fast)
    bertfast.accelerate(pair.fast)
    monkeypatch.setattr("bertfast.engine.plan_call", _fail)
    monkeypatch.setattr("bertfast.engine.backends.find_backend", _fail)
    with pytest.raises(OutOfMemoryError, match="before anything was computed"):
        pair.fast(**batch)


def _fail(*arguments):
    raise MemoryError("std::bad_alloc")


@pytest.fixture
def pair(stock_and_fast, make_config):
    return stock_and_fast("BertModel", make_config("relu-3x3x5"))


@pytest.fixture
def batch(make_batch, make_config):
    return make_batch(make_config("relu-3x3x5"))
