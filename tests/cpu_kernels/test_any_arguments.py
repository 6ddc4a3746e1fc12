"""The functions over the CPU kernels, given anything: see `fenced_arguments`, which a crash would end."""

from __future__ import annotations

from pathlib import Path

import pytest
from processes import printed


@pytest.mark.fuzz
def test_any_arguments_give_a_result_or_a_refusal(isa):
    printed("-W", "ignore", Path(__file__).with_name("fenced_arguments.py"), isa)
