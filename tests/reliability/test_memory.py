"""Memory is flat over many forwards of random shapes, no tensor outlives its call, and what is kept has a limit.

``BERTFAST_SOAK_SECONDS`` sets how long each case of the soak runs, 4 without it; ``soak.py`` is its command.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
import torch
from precisions import needs

import bertfast
from bertfast import engines
from bertfast.linear import padded_rows
from reliability import soak

_ROOT = Path(bertfast.__file__).parents[1]
_needs_proc = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")


def _run(*command: str) -> str:
    """In a process of its own: what one case leaves behind would hide what another needs."""
    done = subprocess.run(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.slow
@_needs_proc
@pytest.mark.parametrize("case", soak.CASES)
def test_resident_memory_is_flat(case):
    """Within 2 % of what it is after a third of the time."""
    if case in ("bfloat16", "int8"):
        needs(case)
    seconds = os.environ.get("BERTFAST_SOAK_SECONDS", "4")
    print(_run(soak.__file__, "--here", "--cases", case, "--seconds", seconds))


@pytest.mark.slow
@_needs_proc
@pytest.mark.parametrize("case", ["float32", "int8"])
def test_threads_that_end_leave_nothing(case):
    """Neither scratch memory of kernels nor threads of OpenMP."""
    if case == "int8":
        needs(case)
    grown, threads = _run(str(Path(soak.__file__).with_name("short_threads.py")), case, "400").split()
    assert float(grown) <= soak.ALLOWED
    assert int(threads) <= 0


@torch.no_grad()
def test_no_tensor_outlives_its_call(config, stock_and_fast, make_batch):
    for options in soak.CASES.values():
        if "precision" in options:
            continue
        model = stock_and_fast("BertModel", config, **options).fast
        model(**make_batch(config))
        before = soak.live_tensors()
        batch = make_batch(config, (30, 3))
        output = model(**batch, output_hidden_states=True)
        seen = [weakref.ref(t) for t in (*batch.values(), output.last_hidden_state, *output.hidden_states)]
        del batch, output
        assert soak.live_tensors() == before
        assert [ref() for ref in seen] == [None] * len(seen)


@torch.no_grad()
def test_a_model_goes_with_its_copies(make_config, stock_and_fast, make_batch, precision):
    config = make_config()
    model = stock_and_fast("BertModel", config, precision=precision).fast
    model(**make_batch(config))
    weights = engines.of(model).preparation.weights
    seen = [weakref.ref(model), weakref.ref(weights), weakref.ref(weights.layers[0].qkv)]
    del model, weights
    gc.collect()
    assert [ref() for ref in seen] == [None] * 3


def test_numbers_of_rows_are_few():
    """oneDNN keeps compiled code for each number of rows that a product has."""
    assert len({padded_rows(rows) for rows in range(1, 2**17 + 1)}) <= 16 + 8 * 10
