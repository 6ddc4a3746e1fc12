"""A run of the benchmarks, as users start it: its table, its file, and the comparison with a file."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
import torch

from benchmarks.kernels import __main__ as kernels

from .conftest import ROOT

_ONE = ("-k", "gather_first and base-1x32x768-float32")
_GROUP = "gather_first[base-1x32x768-float32]"


def _pytest(*arguments):
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "benchmarks/kernels", *_ONE, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_a_run_is_recorded_and_compared_with(tmp_path):
    file = tmp_path / "kernels.json"
    output = _pytest("--benchmark-json", str(file), "--benchmark-max-time", "0.1")
    assert _GROUP in output
    text = file.read_text()
    record = json.loads(text)
    assert len([line for line in text.splitlines() if '"fullname"' in line]) == 3
    assert record["command"].startswith("python -m pytest ")
    assert record["environment"]["versions"]["torch"]
    assert record["environment"]["threads"] == 1
    assert record["ceilings"]["cpu"]["copy_bytes_per_s"] > 0
    assert "node" not in record["machine_info"]
    assert str(ROOT) not in text
    names = ("bertfast", "reference", "pytorch")
    for one, name in zip(record["benchmarks"], names, strict=True):
        assert one["group"] == _GROUP
        assert one["name"] == f"{_GROUP} {name}"
        parameters = {"op": "gather_first", "shape": "base-1x32x768", "dtype": "float32", "implementation": name}
        assert one["params"] == parameters
        assert "data" not in one["stats"]
        assert one["stats"]["rounds"] >= 5
        assert one["extra_info"]["gb_per_s"] > 0
        assert one["extra_info"]["cpu_us"] > 0
    compared = _pytest("--benchmark-compare", str(file), "--benchmark-name", "short", "--benchmark-max-time", "0.1")
    assert "Comparing against benchmarks from" in compared
    assert f"benchmark '{_GROUP}': 6 tests" in compared
    lines = re.findall(rf"^{re.escape(_GROUP)} (\w+) \((\w+)\) ", compared, re.MULTILINE)
    assert len({*lines}) == len(lines) == 6
    assert (
        {name for name, when in lines if when == "NOW"} == {name for name, when in lines if when != "NOW"} == {*names}
    )


@pytest.mark.slow
def test_without_a_gpu_that_is_said():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    output = _pytest("--benchmark-disable", "-k", "cuda")
    assert output.count("cuda: no NVIDIA GPU") == 1
    assert "1 skipped" in output


def _results():
    return sorted((ROOT / "benchmarks" / "results").glob("*/kernels*.json"))


@pytest.mark.parametrize("file", _results(), ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_committed_results_are_of_commands_that_are_told_and_can_be_compared_with(file):
    record = json.loads(file.read_text())
    assert record["command"].startswith("python -m pytest benchmarks/kernels")
    assert not record["commit"].endswith("+changes")
    assert record["environment"]["versions"]["torch"]
    assert all("data" not in one["stats"] for one in record["benchmarks"])
    assert file.stat().st_size < 600_000


def test_a_record_is_printed(capsys, monkeypatch):
    (file, *_) = _results()
    monkeypatch.setattr(sys, "argv", ["kernels", str(file), "--only", "gather_first,base-1x32,float32"])
    kernels.main()
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split()[:4] == ["group", "implementation", "us", "CPU"]
    assert rows[0].startswith("gather_first[base-1x32x768-float32]")
    assert len(rows) == 3


def test_a_record_without_such_a_group_says_so(capsys, monkeypatch):
    (file, *_) = _results()
    monkeypatch.setattr(sys, "argv", ["kernels", str(file), "--only", "softmax"])
    with pytest.raises(SystemExit):
        kernels.main()
    assert "--only softmax: no group of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        ("# no JSON", "Expecting value"),
        ('{"results": []}', "it holds no benchmarks of kernels"),
    ],
)
def test_a_file_that_holds_no_run_is_refused_in_a_line(tmp_path, monkeypatch, capsys, content, message):
    path = tmp_path / "run.json"
    if content is not None:
        path.write_text(content)
    monkeypatch.setattr("sys.argv", ["kernels", str(path)])
    with pytest.raises(SystemExit):
        kernels.main()
    error = capsys.readouterr().err.splitlines()[-1]
    assert message in error
    assert error.endswith("expected what make bench-kernels wrote")
