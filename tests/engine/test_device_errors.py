"""A device that fails for good: a typed error, at once from then on, and a report that says so."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import pytest
import torch

import bertfast
from bertfast import DeviceError, engines, health

_TEXT = "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be asynchronously reported ..."


def _failure(text=_TEXT):
    error = torch.AcceleratorError(text)
    error.error_code = 700
    return error


@pytest.fixture(autouse=True)
def faults_are_of_a_test():
    yield
    health._faults.clear()


@pytest.fixture
def pair(make_config, fake_gpu, stock_and_fast):
    return stock_and_fast("BertModel", make_config("relu-3x3x5"))


@pytest.fixture
def batch(make_batch, make_config):
    return make_batch(make_config("relu-3x3x5"))


@pytest.mark.parametrize("grad", [True, False], ids=["grad", "no grad"])
def test_from_then_on_nothing_is_computed(grad, pair, batch, fake_gpu):
    pair.check(**batch)
    assert bertfast.explain(pair.fast).healthy
    fake_gpu.failed = _failure()
    with torch.set_grad_enabled(grad), pytest.raises(DeviceError, match="has failed: CUDA error: an illegal") as raised:
        pair.fast(**batch)
    assert isinstance(raised.value, torch.AcceleratorError)
    assert raised.value.error_code == 700
    assert "in this process: end it, and start another" in str(raised.value)
    # Nobody asks the device any more, also not in calls that stock would run.
    fake_gpu.failed = None
    for arguments in ({}, {"output_attentions": True}):
        with pytest.raises(DeviceError, match="an illegal memory access"):
            pair.fast(**batch, **arguments)


def test_the_report_says_so(pair, batch, fake_gpu):
    fake_gpu.failed = _failure()
    with pytest.raises(DeviceError):
        pair.fast(**batch)
    report = bertfast.explain(pair.fast)
    assert not report.healthy
    assert "unhealthy: cpu has failed: CUDA error: an illegal memory access was encountered. Nothing" in str(report)
    assert json.loads(json.dumps(report.as_dict()))["healthy"] is False
    with pytest.raises(DeviceError):
        pair.fast(**batch)
    asked = bertfast.explain(pair.fast, **batch)
    assert (asked.path, asked.reason, asked.healthy) == ("refused", report.fault, False)
    assert bertfast.explain(pair.fast).path == "refused"


def test_of_several_encoders_one_is_enough():
    one = bertfast.explain(bertfast.BertModel(_tiny()))
    assert one.healthy
    assert not replace(one, others=(replace(one, fault="gone"),)).healthy


def _tiny():
    return bertfast.BertConfig(
        vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )


@torch.no_grad()
def test_an_error_that_comes_late_is_met_by_the_deferred_checks(make_config, make_gpu, stock_and_fast, batch):
    """A kernel fails after its call has returned: the next call waits for what the first left to be checked."""
    gpu = make_gpu(rows=10_000)
    fast = stock_and_fast("BertModel", make_config("relu-3x3x5")).fast
    fast(**batch)
    assert len(engines.of(fast)._deferred) == 1
    gpu.failed = _failure()
    for _ in range(2):
        with pytest.raises(DeviceError, match="an illegal memory access"):
            fast(**batch)


def test_a_kernel_of_bertfast_says_it_in_its_own_words(pair, batch, fake_gpu, monkeypatch):
    """Whatever the error of the call, the device is asked."""
    fake_gpu.errors = [RuntimeError("varlen_attention: an illegal memory access was encountered")]
    monkeypatch.setattr(fake_gpu, "failure", _failure, raising=False)
    with pytest.raises(DeviceError, match="CUDA error: an illegal memory access"):
        pair.fast(**batch)


@torch.no_grad()
@pytest.mark.parametrize("error", [RuntimeError("a hook's own"), ValueError("no device's"), KeyError("none")])
def test_another_error_stays_what_it_is(error, pair, batch, fake_gpu):
    fake_gpu.errors = [error]
    with pytest.raises(type(error)) as raised:
        pair.fast(**batch)
    assert raised.value is error
    assert bertfast.explain(pair.fast).healthy
    pair.check(**batch)


def _fail(pair, batch, gpu):
    gpu.failed = _failure()
    with pytest.raises(DeviceError):
        pair.fast(**batch)
    gpu.failed = None


def test_other_options_do_not_heal_it(pair, batch, fake_gpu):
    with bertfast.accelerated(pair.fast, pad_outputs="zero"):
        _fail(pair, batch, fake_gpu)
        assert not bertfast.explain(pair.fast).healthy
    bertfast.accelerate(pair.fast, pad_outputs="zero")
    assert not bertfast.explain(pair.fast).healthy
    with pytest.raises(DeviceError):
        pair.fast(**batch)


def test_all_models_there_have_it(pair, batch, fake_gpu):
    """Its context is the process's; models elsewhere have another, as copies in other processes do."""
    _fail(pair, batch, fake_gpu)
    other, elsewhere = pickle.loads(pickle.dumps(pair.fast)), bertfast.BertModel(_tiny()).to("meta")
    with pytest.raises(DeviceError):
        other(**batch)
    assert not bertfast.explain(other).healthy
    assert bertfast.explain(elsewhere).healthy
    health._faults.clear()
    assert bertfast.explain(other).healthy
    with torch.no_grad():
        other(**batch)


@pytest.mark.parametrize("error", [DeviceError("gone", 700), bertfast.OutOfMemoryError("short", 512)])
def test_errors_reach_other_processes_whole(error):
    found = pickle.loads(pickle.dumps(error))
    assert (type(found), str(found), vars(found)) == (type(error), str(error), vars(error))
