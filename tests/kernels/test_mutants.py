"""Bugs planted in the kernels: each is caught by one of the readers, and the table says by which first."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from kernels.device.compiler import sources
from kernels.device.tools import MissingTool
from kernels.mutants.catalogue import MUTANTS
from kernels.mutants.mutant import Mutant
from kernels.mutants.readers import READERS, Catch, first_to_notice
from kernels.mutants.table import RENEW, load_table


@pytest.fixture(scope="module")
def catches(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[Catch]]]:
    """Those of the mutants that this run asks for, all on their way at once."""
    chosen = [
        item.callspec.params["mutant"]
        for item in request.session.items
        if "mutant" in getattr(item, "fixturenames", ())
    ]
    with ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        yield {mutant.name: pool.submit(first_to_notice, mutant) for mutant in chosen}


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.slug)
def test_mutant_is_caught(catches: dict[str, Future[Catch]], mutant: Mutant) -> None:
    try:
        catch = catches[mutant.name].result()
    except MissingTool as missing:
        pytest.skip(str(missing))
    assert catch.reader is not None, "no reader notices"
    assert mutant.complaint in catch.complaint
    assert catch.reader == load_table()[mutant.name], f"another reader than in the table; if it has to be so: {RENEW}"


def test_mistakes_can_be_made() -> None:
    """Each is in the source exactly once, and has a name of its own."""
    for mutant in MUTANTS:
        assert mutant.source()
        assert mutant.complaint, mutant.name
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


def test_every_kernel_has_mutants_and_every_reader_a_catch() -> None:
    assert len(MUTANTS) >= 20
    assert {mutant.op for mutant in MUTANTS} == set(sources())
    table = load_table()
    assert table.keys() == {mutant.name for mutant in MUTANTS}
    assert set(table.values()) == READERS.keys()
