"""No kernel is more than twice as far from float64 as PyTorch's own ops, and the document says how far each is."""

from __future__ import annotations

from typing import Any

import pytest
from tolerances import KERNEL_RATIO

from kernels.accuracy import PATH, RENEW, Table, measure, read, render
from kernels.copies import Differing, count_differing

# Another compiler, libm or torch adds up in another order: the errors stay of one size.
_SAME_SIZE = 1.5


@pytest.fixture(scope="module")
def table(emulated_library: Any) -> Table:
    return measure(emulated_library)


@pytest.fixture(scope="module")
def differing(emulated_library: Any) -> Differing:
    return count_differing(emulated_library)


def test_kernels_are_as_near_as_torch(table: Table) -> None:
    for key, found in table.items():
        assert found.kernel_error > 0, key
        assert found.ratio <= KERNEL_RATIO, f"{key}: {found}"


def test_copies_are_exact(differing: Differing) -> None:
    assert {kernel for kernel, _, _ in differing} == {"unpad_input", "pad_input", "gather_first"}
    for key, count in differing.items():
        assert count == 0, key


def test_document_says_what_is_measured(table: Table, differing: Differing) -> None:
    documented, documented_copies = read(PATH.read_text())
    assert documented.keys() == table.keys(), RENEW
    assert documented_copies == differing, RENEW
    for key, found in table.items():
        for now, then in (
            (found.kernel_error, documented[key].kernel_error),
            (found.torch_error, documented[key].torch_error),
        ):
            assert then / _SAME_SIZE <= now <= then * _SAME_SIZE, f"{key}: {now:.1e}, was {then:.1e}; {RENEW}"


def test_document_is_read_as_written(table: Table, differing: Differing) -> None:
    rows, copies = read(render(table, differing))
    assert copies == differing
    assert rows.keys() == table.keys()
    for key, found in rows.items():
        assert found.kernel_error == pytest.approx(table[key].kernel_error, rel=0.06)
        assert found.torch_error == pytest.approx(table[key].torch_error, rel=0.06)
