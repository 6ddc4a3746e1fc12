"""The comparison as text and as a figure."""

from __future__ import annotations

import json
import re

import pytest
from cpu.candidates import CANDIDATES, OURS
from cpu.plot import STYLES, draw
from cpu.table import HEADER, lines, summary

from .results import result


def test_the_fastest_stands_first_and_the_ratio_last():
    text = lines(result(transformers=300.0, bertfast=100.0, openvino=150.0))
    assert [re.search(r"1680  (\S+)", line)[1] for line in text[:-1]] == ["bertfast", "openvino", "transformers"]
    assert "3.00x" in text[2]
    assert text[-1].strip() == "best peer / bertfast: 1.50x of CPU time (openvino)"
    assert {len(line) for line in text[:-1]} == {len(HEADER)}


def test_without_bertfast_there_are_times_but_no_ratios():
    (line,) = lines(result(openvino=150.0))
    assert "150.0" in line
    assert not re.search(r"\dx", line)


def test_the_summary_names_the_best_peer_of_each_row_and_precision():
    found = [
        result("float32", "ragged", bertfast=10.0, openvino=30.0),
        result("float32", "1x32", bertfast=10.0, openvino=30.0, onnxruntime=9.0),
        result("int8", "1x32", onnxruntime=9.0),
    ]
    head, *rest = (re.split(r" {2,}", line.strip()) for line in summary(found))
    assert head == ["best peer / bertfast", "ragged", "1x32"]
    assert rest == [["float32", "3.00x openvino", "0.90x onnxruntime"], ["int8", "-", "-"]]


def test_every_peer_has_a_colour():
    assert STYLES.keys() == CANDIDATES.keys() - {OURS}


def test_the_same_record_gives_the_same_figure(tmp_path):
    pytest.importorskip("matplotlib")
    results = [result("float32", "ragged", bertfast=10.0, openvino=30.0), result("int8", "ragged", openvino=9.0)]
    stored = json.loads(json.dumps({"results": [r.as_json() for r in results]}))
    for name in ("a.svg", "b.svg"):
        draw(stored, tmp_path / name)
    drawn = (tmp_path / "a.svg").read_bytes()
    assert drawn == (tmp_path / "b.svg").read_bytes()
    assert b"OpenVINO" in drawn
