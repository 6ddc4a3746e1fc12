"""The figures of a record: what is drawn, and what is said where nothing can be."""

from __future__ import annotations

import importlib.util
import json

import pytest
from bench.results import result

from benchmarks import plot
from benchmarks.kernels.plot import draw_roofline, draw_speed, points

_CEILINGS = {"copy_bytes_per_s": 10e9, "gemm_flops": {"float32": 100e9, "int8": 400e9}}


def _benchmark(op="bias_gelu", dtype="float32", implementation="bertfast", device="", **facts):
    shape = f"{device}base-8x16"
    given = {"gflop_per_s": 9.0, "gb_per_s": 3.0, "share_of_ceiling": 0.5, "pytorch_by_this": 2.0, **facts}
    parameters = {"shape": shape, "dtype": dtype, "implementation": implementation}
    return {"group": f"{op}[{shape}-{dtype}]", "params": parameters, "extra_info": given}


_RECORD = {
    "ceilings": {"cpu": _CEILINGS, "cuda": _CEILINGS},
    "benchmarks": [
        _benchmark(),
        _benchmark(implementation="native", pytorch_by_this=2.5, pytorch_by_this_cpu=3.0),
        _benchmark(implementation="pytorch", pytorch_by_this=1.0),
        _benchmark(implementation="reference"),
        _benchmark("layer_tail", "int8", gflop_per_s=300.0),
        _benchmark("pad_input", gflop_per_s=0.0),
        _benchmark("unpad_input", "int64", gflop_per_s=0.0, pytorch_by_this=None),
        _benchmark(device="cuda-"),
    ],
}


def _script(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["plot.py", *map(str, arguments)])
    plot.main()


def test_points_are_those_of_a_record():
    found = points(_RECORD)
    first, native, *_ = found
    assert (first.op, first.device, first.dtype, first.flop_per_byte, first.pytorch_by_this) == (
        *("bias_gelu", "cpu", "float32", 3.0, 2.0),
    )
    # CPU time says more than wall time, where there is one.
    assert native.pytorch_by_this == 3.0
    assert [point.device for point in found].count("cuda") == 1
    assert {point.implementation for point in found} == {"bertfast", "native", "pytorch"}
    assert "int64" not in {point.dtype for point in found}


def test_the_same_record_gives_the_same_figures(tmp_path):
    pytest.importorskip("matplotlib", reason="needs matplotlib")
    for name in ("a", "b"):
        draw_speed(_RECORD, tmp_path / name / "speed.svg")
        assert draw_roofline(_RECORD, tmp_path / name / "roofline.svg") == ["pad_input"]
    for figure in ("speed.svg", "roofline.svg"):
        assert (tmp_path / "a" / figure).read_bytes() == (tmp_path / "b" / figure).read_bytes()
    speed, roofline = ((tmp_path / "a" / figure).read_text() for figure in ("speed.svg", "roofline.svg"))
    assert all(f">{word}<" in speed for word in ("layer_tail", "pad_input", "int8", "cuda, float32", "native"))
    assert all(f">{word}<" in roofline for word in ("layer_tail", "int8 400", "float32 100", "copy 10.0 GB/s"))
    assert ">pad_input<" not in roofline


def test_the_script_writes_both_figures(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib", reason="needs matplotlib")
    file = tmp_path / "kernels.json"
    file.write_text(json.dumps(_RECORD))
    _script(monkeypatch, file, tmp_path / "images")
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == [
        "kernels_roofline.svg",
        "kernels_speed.svg",
    ]
    assert "without pad_input, which compute nothing" in capsys.readouterr().out


def test_a_comparison_has_one_figure_of_its_own_name(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="needs matplotlib")
    file = tmp_path / "compare_cpu_2_threads.json"
    compared = result("int8", "1x32", bertfast=10.0, openvino=30.0)
    file.write_text(json.dumps({"results": [compared.as_json()]}))
    _script(monkeypatch, file, tmp_path / "images")
    assert [path.name for path in (tmp_path / "images").iterdir()] == ["compare_cpu_2_threads.svg"]


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"results": [{"row": "1x32", "timings": {}}]},
        {**_RECORD, "benchmarks": []},
        {"benchmarks": _RECORD["benchmarks"]},
    ],
)
def test_a_file_that_is_no_record_is_refused(tmp_path, monkeypatch, capsys, content):
    file = tmp_path / "kernels.json"
    file.write_text(json.dumps(content))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    with pytest.raises(SystemExit):
        _script(monkeypatch, file, tmp_path)
    assert (
        "kernels.json: expected results of compare_cpu.py, or ceilings and kernels that compute"
        in capsys.readouterr().err
    )


def test_without_matplotlib_it_says_how_to_get_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as end:
        _script(monkeypatch, tmp_path / "record.json", tmp_path)
    assert end.value.code == 2
    assert "matplotlib is not installed; pip install '.[plot]'" in capsys.readouterr().err
