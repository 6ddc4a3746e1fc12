"""The table, and who is left out of a comparison."""

from __future__ import annotations

import dataclasses

from bertfast.bench import session
from bertfast.bench.candidates import CANDIDATES
from bertfast.bench.measure import Plan
from bertfast.bench.session import Comparison, Section, run
from bertfast.bench.setup import Setup
from bertfast.bench.table import HEADER, has_ours, heading, lines
from bertfast.bench.workloads import grid

from .results import result


def _section(tmp_path, *names, **left_out):
    return Section(Setup("bert-tiny", "float32", 1, tmp_path), list(names), left_out)


def test_the_table_begins_with_the_fastest_and_ends_with_who_failed(tmp_path):
    found = dataclasses.replace(
        result(transformers=30.0, bertfast=10.0), left_out={"openvino": "it broke", "compiled": "too old"}
    )
    head = heading(_section(tmp_path, "bertfast", "transformers", compiled="too old"))
    assert head[1:] == ["float32 on cpu, threads: 1", "  without compiled: too old", HEADER]
    first, second, failed = lines(found, {"compiled": "too old"})
    assert " bertfast " in first
    assert "3.00x" in first
    assert "1.00x" in second
    assert len(first) == len(second) == len(HEADER)
    assert failed == "  without openvino: it broke"


def test_bertfast_must_have_run_everything(tmp_path):
    done, none = _section(tmp_path, "bertfast"), _section(tmp_path, "transformers")
    done.results.append(result(bertfast=1.0))
    assert has_ours([done, none])
    assert not has_ours([none])
    done.results.append(result(transformers=1.0))
    assert not has_ours([done])


def test_who_cannot_prepare_its_files_is_left_out(tmp_path, monkeypatch):
    def fail(self, setup):
        if self is CANDIDATES["transformers"]:
            raise RuntimeError("no\nexport")

    monkeypatch.setattr("bertfast.bench.candidates.Candidate.prepare", fail)
    monkeypatch.setattr(session, "reference", lambda setup, workload: None)
    monkeypatch.setattr(session, "measure", lambda names, *rest: list(names))
    workloads = grid([1], [8], [1.0], 100, 0)
    names = ["bertfast", "transformers"]
    comparison = Comparison("bert-tiny", "cpu", ["float32"], [1, 2], names, workloads, Plan(3), tmp_path)
    assert comparison.num_calls() == 2 * 2 * 3
    found = list(run(comparison))
    assert [measured for _, measured in found] == [None, ["bertfast"], None, ["bertfast"]]
    assert found[0][0].left_out == {"transformers": "RuntimeError: no export"}
