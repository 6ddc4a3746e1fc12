"""``bertfast kernels``: with the compiled kernels, without them, and its figure."""

from __future__ import annotations

import importlib.util
import json

import pytest

from bertfast import extension
from cli.conftest import assert_one_line

_NAMES = (
    "void bertfast::bias_gelu_kernel<float, (bertfast::Activation)0, 4>(bertfast::BiasGeluParams)",
    "bertfast::scan_lengths_kernel(bertfast::UnpadInputParams)",
)


def _row(kernel, architecture, registers, spills=0):
    numbers = {"registers": registers, "static_smem_bytes": 64, "stack_bytes": 0, "spill_bytes": spills}
    return {"kernel": kernel, "architecture": architecture, **numbers}


@pytest.fixture
def built(monkeypatch):
    rows = [_row(_NAMES[0], "sm_100", 33), _row(_NAMES[0], "sm_90", 31, spills=8), _row(_NAMES[1], "sm_90", 32)]
    monkeypatch.setattr(extension, "why_not", lambda: None)
    monkeypatch.setattr(extension, "kernels", lambda: rows)


@pytest.fixture
def not_built(monkeypatch):
    monkeypatch.setattr(extension, "why_not", lambda: "no such file /opt/jane/_C.so; build it in the sources")


def test_registers_by_architecture(call, built):
    done = call("kernels")
    assert done.code == 0
    lines = [line.split() for line in done.out.splitlines()[-3:]]
    assert "sm_90 registers  sm_100 registers  static_smem B  stack B  spill B" in done.out
    assert lines[1][-5:] == ["31", "33", "64", "0", "8"]
    assert lines[1][:3] == ["bias_gelu_kernel<float,", "(Activation)0,", "4>"]
    assert lines[2] == ["scan_lengths_kernel", "32", "-", "64", "0", "0"]


def test_some_of_them(call, built):
    done = call("kernels", "--kernel", "bias_gelu", "--architecture", "sm_90", "--json")
    found = json.loads(done.out)
    assert [(row["kernel"], row["registers"]) for row in found["kernels"]] == [(_NAMES[0], 31)]
    assert {entry["kernel"] for entry in found["roofline"]} == {"bias_gelu (erf)"}
    assert found["why_not"] is None


def test_without_the_kernels_it_says_why_and_how(call, not_built):
    done = call("kernels")
    assert done.code == 1
    assert "varlen_attention, flash" in done.out
    assert done.out.splitlines()[-1] == (
        "no table of registers: bertfast._C is not loaded: no such file .../_C.so; build it in the sources"
    )
    done = call("kernels", "--json")
    assert done.code == 1
    assert json.loads(done.out)["why_not"].startswith("no such file")


@pytest.mark.parametrize("state", ["built", "not_built"])
def test_a_kernel_that_is_not_there(call, request, state):
    request.getfixturevalue(state)
    assert_one_line(call("kernels", "--kernel", "nosuch"))


def test_an_architecture_that_was_not_built(call, built):
    done = call("kernels", "--architecture", "sm_75")
    assert_one_line(done)
    assert "expected one that was built: sm_100, sm_90" in done.err


def test_a_figure_of_another_format(call):
    done = call("kernels", "--plot", "a.xyz")
    assert_one_line(done)
    assert "expected a name that ends in .svg, .png, .pdf" in done.err


def test_a_figure_without_matplotlib(call, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    done = call("kernels", "--plot", "a.svg")
    assert_one_line(done)
    assert "pip install '.[plot]'" in done.err


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="needs matplotlib")
def test_a_figure(call, not_built, tmp_path):
    done = call("kernels", "--plot", tmp_path / "roofline.svg")
    assert done.code == 1, "the kernels are still not there"
    assert (tmp_path / "roofline.svg").stat().st_size > 0
    assert "not drawn, as they compute nothing: unpad_input, pad_input, gather_first" in done.out
    assert call("kernels", "--plot", tmp_path / "made" / "a.svg").code == 1
    assert (tmp_path / "made" / "a.svg").stat().st_size > 0


def test_as_a_process(process):
    done = process("kernels")
    assert done.code in (0, 1)
    assert "at best, us, and what limits it" in done.out
    assert done.err == ""
