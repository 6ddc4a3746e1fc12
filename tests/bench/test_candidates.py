"""Who takes part, and what is said of the others."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from tolerances import REDUCED_TOLERANCES, TOLERANCES, relative_error

from bertfast.bench import candidates
from bertfast.bench.candidates import CANDIDATES, GPU_PRECISIONS, OURS, PRECISIONS, REFERENCE, chosen
from bertfast.bench.models import build
from bertfast.bench.setup import Setup
from bertfast.bench.workloads import random_batch

_BATCH = random_batch((5, 9), 12)
_INPUTS = (torch.from_numpy(_BATCH.ids), torch.from_numpy(_BATCH.mask))
# Compiling takes minutes, and is torch's to test.
_COMPUTED = [
    (name, precision)
    for name, candidate in CANDIDATES.items()
    if not name.startswith("compiled")
    for precision in candidate.precisions["cpu"]
]


def _setup(precision, device="cpu", folder=Path()):
    return Setup("bert-tiny", precision, 1, folder, device)


def test_a_peer_that_is_not_installed_is_left_out_with_the_way_to_install_it(monkeypatch):
    absent = dataclasses.replace(CANDIDATES[REFERENCE], packages=("json", "nosuchpackage"))
    monkeypatch.setitem(candidates.CANDIDATES, "absent", absent)
    names, left_out = chosen([REFERENCE, "absent"], _setup("float32"))
    assert names == [REFERENCE]
    assert left_out["absent"].startswith("nosuchpackage not installed: pip install nosuchpackage, or all peers")
    assert left_out["absent"].endswith("pip install '.[compare]' in bertfast's clone")


def test_a_precision_that_a_peer_does_not_have_is_said():
    assert chosen([REFERENCE], _setup("int8")) == ([], {REFERENCE: "it has no int8"})
    assert chosen([REFERENCE], _setup("int8", "cuda:1")) == ([], {REFERENCE: "it has no int8 on cuda"})
    assert chosen(["openvino"], _setup("float32", "cuda")) == ([], {"openvino": "it is not run on cuda"})


@pytest.mark.parametrize(("name", "precision"), _COMPUTED)
def test_every_candidate_computes_the_model_from_its_weights(name, precision, tmp_path):
    candidate = CANDIDATES[name]
    setup = _setup(precision, folder=tmp_path)
    if reason := candidate.why_not(setup):
        pytest.skip(reason)
    candidate.prepare(setup)
    with torch.inference_mode():
        expected, found = build("bert-tiny")(*_INPUTS), candidate.load(setup)(*_INPUTS)
    assert found.dtype == torch.float32
    assert relative_error(found, expected) <= _bound(name, precision)


def _bound(name, precision):
    if precision == "float32":
        return TOLERANCES[torch.float32].model
    return REDUCED_TOLERANCES[precision].model if CANDIDATES[name].is_ours else REDUCED_TOLERANCES[precision].peer


def test_a_head_behind_the_encoder_gives_what_the_model_gives():
    ids, mask = _INPUTS
    model = build("bert-tiny")
    with torch.inference_mode():
        out = model.encoder(input_ids=ids, attention_mask=mask)
        assert torch.equal(model.head(out.last_hidden_state, out.pooler_output, mask), model(ids, mask))


def test_ours_is_left_out_of_a_precision_that_the_cpu_has_no_instructions_for(monkeypatch):
    """It would compute in float32, and be recorded under another name."""
    monkeypatch.setattr("bertfast.bench.peers.ours.missing", lambda precision: f"no {precision} here")
    assert chosen([OURS], _setup("int8")) == ([], {OURS: "no int8 here"})
    assert chosen([OURS], _setup("float32")) == ([OURS], {})


def test_ours_is_a_candidate_in_every_precision():
    assert CANDIDATES[OURS].precisions == {"cpu": PRECISIONS, "cuda": GPU_PRECISIONS}
