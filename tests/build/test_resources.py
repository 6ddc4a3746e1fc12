"""What ptxas prints, read; and the table of it, written."""

from __future__ import annotations

import pytest

from native_build.cuda.resources import KernelResources, kernel_table_source, parse_report

_REPORT = """\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_Z1av' for 'sm_90'
ptxas info    : Function properties for _Z1av
    8 bytes stack frame, 16 bytes spill stores, 20 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 24 bytes cumulative stack size, 1024 bytes smem
ptxas info    : Compile time = 1.0 ms
ptxas info    : Compiling entry function '_Z1bv' for 'sm_90'
ptxas info    : Function properties for _Z1bv
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 12 registers, used 0 barriers, 400 bytes cmem[0]
"""


def test_report():
    assert parse_report(_REPORT) == [
        KernelResources("_Z1av", "sm_90", 40, 1024, 8, 36),
        KernelResources("_Z1bv", "sm_90", 12, 0, 0, 0),
    ]


def test_a_report_in_another_form_is_refused():
    with pytest.raises(ValueError, match="not understood"):
        parse_report(_REPORT.replace("Used 12 registers", "12 registers used"))


def test_table():
    a, b = parse_report(_REPORT)
    source = kernel_table_source([b, a])
    assert source.index("void _Z1av();") < source.index("void _Z1bv();")
    assert '{"_Z1av", reinterpret_cast<const void*>(&_Z1av), "sm_90", 40, 1024, 8, 36},' in source
    assert "kKernelTableSize = 2;" in source


def test_one_name_for_two_kernels_is_refused():
    a, b = parse_report(_REPORT)
    with pytest.raises(ValueError, match=r"one name: \[\('_Z1av', 'sm_90'\)\]"):
        kernel_table_source([a, b, a])
