"""A model that another process gets computes there, and its shared memory is edited from there."""

from __future__ import annotations

import multiprocessing
from typing import Any

import pytest
import torch
from tolerances import assert_same_output
from torch import nn

from dropin.helpers import assert_differ, attention, counted


def _serve(model: nn.Module, connection: Any, inputs: dict[str, Any]) -> None:
    """Answer with the output and the counts, then double a weight in the shared memory."""
    with torch.no_grad(), counted() as calls:
        output = model(**inputs)[0]
    connection.send((output.numpy(), dict(calls)))
    attention(model).query.weight.data.mul_(2)
    connection.send("edited")


def _check_in_a_child(method: str, pair: Any, batch: dict[str, Any]) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system has no {method}")
    pair.fast.share_memory()
    before = pair.check(**batch)
    context = multiprocessing.get_context(method)
    here, there = context.Pipe()
    child = context.Process(target=_serve, args=(pair.fast, there, batch))
    child.start()
    try:
        assert here.poll(120), "the child has not answered"
        output, calls = here.recv()
        assert here.poll(60)
        assert here.recv() == "edited"
    finally:
        child.join(30)
        if child.is_alive():
            child.kill()
    assert child.exitcode == 0
    assert calls == {"fast": 1}
    assert_same_output(torch.from_numpy(output), before[0], pair.bound)

    attention(pair.stock).query.weight.data.mul_(2)
    assert_differ(pair.check(**batch), before)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("shared", ["before the first call", "later"])
def test_a_forked_process_runs_the_model_and_edits_it(pair, batch, backend, shared):
    if shared == "later":
        pair.check(**batch)
    _check_in_a_child("fork", pair, batch)


@pytest.mark.slow
def test_a_spawned_process_runs_the_model_and_edits_it(pair, batch):
    pair.check(**batch)
    _check_in_a_child("spawn", pair, batch)
