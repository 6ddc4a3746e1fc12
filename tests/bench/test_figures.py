"""Which figures a record has rows for, and that the same record gives the same ones."""

from __future__ import annotations

import dataclasses

import pytest

from bertfast.bench.candidates import CANDIDATES
from bertfast.bench.figures import KINDS, draw_all
from bertfast.bench.styles import STYLES

from .results import result


def _row(length=32, fill=1.0, **changes):
    made = result(row=f"16x{length}", bertfast=10.0, transformers=20.0)
    return dataclasses.replace(
        made, longest=length, padded_slots=16 * length, real_tokens=int(16 * length * fill), **changes
    ).as_json()


def _panels(*rows):
    return {kind.name: [panel.title for panel in kind.panels(rows)] for kind in KINDS}


def test_every_candidate_has_a_colour():
    assert STYLES.keys() == CANDIDATES.keys()


def test_latency_needs_two_lengths_and_throughput_two_fills():
    where = "float32, threads: 1"
    assert _panels(_row())["latency"] == _panels(_row())["throughput"] == []
    assert _panels(_row(), _row(64))["latency"] == [f"batch 16, {where}"]
    assert _panels(_row(), _row(64), _row(fill=0.5))["throughput"] == [f"16x32, {where}"]
    texts = [_row(100, 0.9, batches=2, is_texts=True), _row(100, 0.5, is_texts=True)]  # the second in one batch
    assert _panels(*texts)["throughput"] == [f"texts, {where}"]
    assert _panels(_row(is_texts=True), _row(64, is_texts=True))["latency"] == []
    assert _panels(_row())["error"] == ["16x32, threads: 1"]


def test_figures_are_written_and_what_is_missing_is_said(tmp_path):
    pytest.importorskip("matplotlib")
    written, missing = draw_all({"results": [_row(), _row(64)]}, tmp_path / "a")
    assert [path.name for path in written] == ["latency.svg", "error.svg"]
    assert len(missing) == 1
    assert missing[0].startswith("throughput: needs batches that are filled differently: --fill")
    again, _ = draw_all({"results": [_row(), _row(64)]}, tmp_path / "b")
    for first, second in zip(written, again, strict=True):
        assert first.read_bytes() == second.read_bytes()
        assert b"transformers, sdpa" in first.read_bytes()


def test_a_record_without_results_has_no_figures(tmp_path):
    written, missing = draw_all({"results": []}, tmp_path)
    assert written == []
    assert len(missing) == len(KINDS)
