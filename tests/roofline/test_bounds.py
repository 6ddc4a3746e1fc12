"""Times that follow from data sheets, by hand; and the figure of them."""

from __future__ import annotations

import pytest

from bertfast import ops
from bertfast.roofline.bounds import bound
from bertfast.roofline.cases import cases, cases_at
from bertfast.roofline.machines import GPUS, Gpu
from bertfast.roofline.work import Shape, Work

# 1 TB/s, 10 TFLOP/s in float32, 100 on tensor cores; special functions at 16 of 2 * 64 lanes: 1.25 Top/s.
_GPU = Gpu("some", "80", "nowhere", 100, 64, 1e12, 10e12, 100e12)


@pytest.mark.parametrize(
    ("work", "time_us", "limit"),
    [
        (Work(3e6, 1e6), 4, "memory"),
        (Work(1e6, 1e6, flops=50e6), 5, "floats"),
        (Work(1e6, 1e6, flops=1e6, tensor_flops=600e6), 6, "tensor cores"),
        (Work(1e6, 1e6, flops=1e6, special_ops=10e6), 8, "special functions"),
    ],
)
def test_the_most_wanted_resource_counts(work, time_us, limit):
    found = bound(work, _GPU)
    assert found.time_us == pytest.approx(time_us)
    assert found.limit == limit


def test_every_op_has_its_work():
    assert {case.op for case in cases()} == {case.op for case in cases_at(Shape())} == set(ops.__all__)


def test_a_figure(tmp_path):
    pytest.importorskip("matplotlib", reason="needs matplotlib")
    from bertfast.roofline.figure import draw

    paths = [tmp_path / "a.svg", tmp_path / "b.svg"]
    left_out = [draw(cases(), GPUS, path) for path in paths]
    assert left_out[0] == ["unpad_input", "pad_input", "gather_first"]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    text = paths[0].read_text()
    assert all(gpu.name in text for gpu in GPUS)
    assert "varlen_attention, flash, B8 S512 float16" in text
    draw(cases(), GPUS[:1], tmp_path / "c.png")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
