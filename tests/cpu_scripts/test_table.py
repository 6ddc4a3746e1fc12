"""The comparison as text and as a figure."""

from __future__ import annotations

import json
import re

import pytest
from bench.results import result
from cpu.plot import draw
from cpu.table import HEADER, lines, summary


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
        result("float32", "ragged", 2, bertfast=10.0, openvino=20.0),
        result("int8", "1x32", onnxruntime=9.0),
    ]
    head, *rest = (re.split(r" {2,}", line.strip()) for line in summary(found))
    assert head == ["best peer / bertfast", "ragged", "1x32"]
    assert rest == [
        ["float32, 1 thr.", "3.00x openvino", "0.90x onnxruntime"],
        ["float32, 2 thr.", "2.00x openvino", "-"],
        ["int8, 1 thr.", "-", "-"],
    ]


def test_the_same_record_gives_the_same_figure(tmp_path):
    pytest.importorskip("matplotlib")
    results = [result("float32", "ragged", bertfast=10.0, openvino=30.0), result("int8", "ragged", openvino=9.0)]
    stored = json.loads(json.dumps({"results": [r.as_json() for r in results]}))
    for name in ("a.svg", "b.svg"):
        draw(stored, tmp_path / name)
    drawn = (tmp_path / "a.svg").read_bytes()
    assert drawn == (tmp_path / "b.svg").read_bytes()
    assert b"OpenVINO" in drawn


def test_a_record_that_has_one_number_of_threads_for_all_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    row = result("float32", "ragged", bertfast=10.0, openvino=30.0).as_json()
    draw({"results": [row, {**row, "threads": 2}]}, tmp_path / "two.svg")
    assert b"float32, threads: 2<" in (tmp_path / "two.svg").read_bytes()
    del row["threads"]
    draw({"results": [row]}, tmp_path / "old.svg")
    assert b">float32<" in (tmp_path / "old.svg").read_bytes()
