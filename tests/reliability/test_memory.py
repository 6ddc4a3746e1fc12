"""Memory is flat over many forwards of random shapes, no tensor outlives its call, and what is kept has a limit.

``BERTFAST_SOAK_SECONDS`` sets how long each case of the soak runs, 4 without it; ``soak.py`` is its command.
"""

from __future__ import annotations

import gc
import os
import subprocess
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from precisions import needs
from processes import run_python

from bertfast import engines
from bertfast.linear import padded_rows
from reliability import soak

_needs_proc = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")


@pytest.fixture(scope="module")
def soaked() -> subprocess.CompletedProcess[str]:
    """All cases, one after the other."""
    seconds = os.environ.get("BERTFAST_SOAK_SECONDS", "4")
    return run_python(soak.__file__, "--seconds", seconds, timeout=300 + len(soak.CASES) * float(seconds))


@pytest.mark.slow
@_needs_proc
@pytest.mark.parametrize("case", soak.CASES)
def test_resident_memory_is_flat(case, request):
    """Within 2 % of what it is after a third of the time."""
    if "precision" in soak.CASES[case]:
        needs(soak.CASES[case]["precision"])
    done = request.getfixturevalue("soaked")
    print(done.stdout)
    # A line for the figures on one stream, a line for what is wrong on the other.
    assert f"{case}: " in done.stdout, done.stderr[-4000:]
    assert f"{case}: " not in done.stderr, done.stderr[-4000:]


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Torch's, for each that computes."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def _num_threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


@_needs_proc
@pytest.mark.usefixtures("two_threads")
@torch.no_grad()
def test_threads_that_end_leave_no_threads(make_config, stock_and_fast, make_batch):
    """What they keep for the kernels: ``tests/cpu_kernels/test_scratch.py``."""
    config = make_config("gelu_new-2x2x64")
    model, batch = stock_and_fast("BertModel", config).fast, make_batch(config, (60,) * 8)
    expected, before, meanwhile = model(**batch)[0], _num_threads(), list[int]()
    for _ in range(30):
        with ThreadPoolExecutor(1) as pool:
            assert torch.equal(pool.submit(lambda: model(**batch)[0]).result(), expected)
            meanwhile.append(_num_threads())
    assert max(meanwhile) > before + 1, "none of OpenMP"
    # They end a little later than the thread they were for.
    end = time.monotonic() + 30
    while _num_threads() > before and time.monotonic() < end:
        time.sleep(0.01)
    assert _num_threads() <= before


@pytest.fixture
def only_new_objects() -> Iterator[None]:
    """Garbage collection looks at what is made from now on, which is little."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("only_new_objects")
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
