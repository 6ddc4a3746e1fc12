"""Who takes part, and what is said of the others."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from cpu import candidates
from cpu.candidates import CANDIDATES, OURS, PRECISIONS, REFERENCE, chosen
from cpu.models import build
from cpu.peers.setup import Setup
from cpu.rows import Row, batch
from tolerances import REDUCED_TOLERANCES, TOLERANCES, relative_error

_ROW = Row("two", (5, 9), 12)
# Compiling takes minutes, and is torch's to test.
_COMPUTED = [
    (name, precision)
    for name, candidate in CANDIDATES.items()
    if not name.startswith("compiled")
    for precision in candidate.precisions
]


def test_a_peer_that_is_not_installed_is_left_out_with_the_way_to_install_it(monkeypatch):
    absent = dataclasses.replace(CANDIDATES[REFERENCE], packages=("json", "nosuchpackage"))
    monkeypatch.setitem(candidates.CANDIDATES, "absent", absent)
    names, left_out = chosen([REFERENCE, "absent"], "float32")
    assert names == [REFERENCE]
    assert left_out == {"absent": "nosuchpackage not installed: pip install '.[compare]'"}


def test_a_precision_that_a_peer_does_not_have_is_said():
    names, left_out = chosen([REFERENCE], "int8")
    assert names == []
    assert left_out == {REFERENCE: "it has no int8"}


@pytest.mark.parametrize(("name", "precision"), _COMPUTED)
def test_every_candidate_computes_the_model_from_its_weights(name, precision, tmp_path):
    candidate = CANDIDATES[name]
    if reason := candidate.why_not(precision):
        pytest.skip(reason)
    setup = Setup("tiny", precision, 1, tmp_path)
    candidate.prepare(setup)
    inputs = batch(_ROW).values()
    with torch.inference_mode():
        expected, found = build("tiny")(*inputs), candidate.load(setup)(*inputs)
    assert found.dtype == torch.float32
    assert relative_error(found, expected) <= _bound(name, precision)


def _bound(name, precision):
    if precision == "float32":
        return TOLERANCES[torch.float32].model
    return REDUCED_TOLERANCES[precision].model if name == OURS else REDUCED_TOLERANCES[precision].peer


def test_a_head_behind_the_encoder_gives_what_the_model_gives():
    ids, mask = batch(_ROW).values()
    model = build("tiny")
    with torch.inference_mode():
        out = model.encoder(input_ids=ids, attention_mask=mask)
        assert torch.equal(model.head(out.last_hidden_state, out.pooler_output, mask), model(ids, mask))


def test_ours_is_left_out_of_a_precision_that_the_cpu_has_no_instructions_for(monkeypatch):
    """It would compute in float32, and be recorded under another name."""
    monkeypatch.setattr("cpu.peers.ours.missing", lambda precision: f"no {precision} here")
    assert chosen([OURS], "int8") == ([], {OURS: "no int8 here"})
    assert chosen([OURS], "float32") == ([OURS], {})


def test_ours_is_a_candidate_in_every_precision():
    assert CANDIDATES[OURS].precisions == PRECISIONS
