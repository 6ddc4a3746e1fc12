"""Memory is flat over many forwards of random shapes, no tensor outlives its call, and what is kept has a limit.

``BERTFAST_SOAK_SECONDS`` sets how long each case runs, 15 without it.
"""

from __future__ import annotations

import gc
import os
import random
import time
import weakref
from pathlib import Path

import pytest
import torch
from precisions import needs

from bertfast import engines
from bertfast.linear import padded_rows

_CASES = {
    "float32": {},
    "bfloat16": {"precision": "bfloat16"},
    "int8": {"precision": "int8"},
    "invariant": {"invariant": True},
}
_ALLOWED = 1.02


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _live_tensors() -> int:
    gc.collect()
    return sum(isinstance(thing, torch.Tensor) for thing in gc.get_objects())


def _random_batch(random_: random.Random, make_batch, config):
    lengths = [random_.randint(2, 64) for _ in range(random_.randint(1, 24))]
    return make_batch(config, lengths, random_.choice(["right", "left", "holed"]), random_.randrange(2**16))


@pytest.mark.slow
@pytest.mark.parametrize("case", _CASES)
@torch.no_grad()
def test_resident_memory_is_flat(case, make_config, stock_and_fast, make_batch, record_property):
    """Within 2 % of what it is after a third of the time."""
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc")
    if case in ("bfloat16", "int8"):
        needs(case)
    seconds = float(os.environ.get("BERTFAST_SOAK_SECONDS", "15"))
    config = make_config("gelu_new-2x2x64")
    model = stock_and_fast("BertForSequenceClassification", config, pad_outputs="auto", **_CASES[case]).fast
    generator, start, calls, settled = random.Random(0), time.monotonic(), 0, None
    # The largest batch first: what scratch memory can grow to, it has then.
    model(**make_batch(config, [64] * 24))
    while time.monotonic() - start < seconds:
        model(**_random_batch(generator, make_batch, config))
        calls += 1
        if settled is None and time.monotonic() - start > seconds / 3:
            settled, tensors, first = _resident_bytes(), _live_tensors(), calls
    grown = _resident_bytes() / settled
    record_property("calls", calls)
    print(f"{case}: {calls} calls, resident memory {grown:.4f} times that after {first}")
    assert calls > first
    assert grown <= _ALLOWED
    assert _live_tensors() <= tensors


@torch.no_grad()
def test_no_tensor_outlives_its_call(config, stock_and_fast, make_batch):
    for options in _CASES.values():
        if "precision" in options:
            continue
        model = stock_and_fast("BertModel", config, **options).fast
        model(**make_batch(config))
        before = _live_tensors()
        batch = make_batch(config, (30, 3))
        output = model(**batch, output_hidden_states=True)
        seen = [weakref.ref(t) for t in (*batch.values(), output.last_hidden_state, *output.hidden_states)]
        del batch, output
        assert _live_tensors() == before
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
