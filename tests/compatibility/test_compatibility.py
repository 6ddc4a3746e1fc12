"""Every row of docs/compatibility.md, run: equal to stock, by the path that the table says."""

from __future__ import annotations

import os
from collections import Counter

import pytest
from dropin.helpers import counted

from compatibility import table
from compatibility.behaviours import (
    ABSENT,
    BOTH,
    FALLBACK,
    FAST,
    REFUSED,
    TRACED,
    NotInThisVersion,
    behaviours,
    path_of,
)

ROWS = behaviours()
_RENEWS = bool(os.environ.get("BERTFAST_RENEW_COMPATIBILITY"))


@pytest.mark.parametrize(
    "row", [pytest.param(row, marks=pytest.mark.slow if row.slow else (), id=row.id) for row in ROWS]
)
def test_a_behaviour(row, bench, recorded):
    try:
        with counted() as calls:
            row.run(bench)
        path, cell = path_of(calls + bench.elsewhere, bench.refusal)
    except NotInThisVersion:
        path, cell = ABSENT, ABSENT
    assert path == row.path, cell
    recorded[row.group, row.name] = cell
    if not _RENEWS:
        committed = table.read().get((row.group, row.name), {}).get(table.COLUMN)
        assert cell == committed, f"docs/compatibility.md says {committed!r}; `make compatibility` writes it anew"


@pytest.mark.skipif(_RENEWS, reason="the table is being written")
def test_the_table_has_these_rows_and_no_others():
    cells = table.read()
    assert list(cells) == [(row.group, row.name) for row in ROWS]
    assert not [row for row, found in cells.items() if "?" in found.values()], "rows that have not run on a version"
    assert table.PATH.read_text() == table.render(ROWS, cells)


def test_rows_have_names_of_their_own():
    assert not [name for name, count in Counter((row.group, row.name) for row in ROWS).items() if count > 1]
    assert not [row for row in ROWS if "|" in row.name + row.equal]


@pytest.mark.parametrize(
    ("calls", "refusal", "path", "cell"),
    [
        ({"fast": 2}, None, FAST, "fast"),
        ({"stock": 2, "stock: b": 1, "stock: a": 1}, None, FALLBACK, "fallback: a, b"),
        ({"stock": 1, "stock: x.y is a peft.lora.Linear": 1}, None, FALLBACK, "fallback: x.y is a Linear of peft"),
        ({"stock": 1, "stock: cache": 1}, None, FALLBACK, "fallback: past_key_values"),
        ({"fast": 1, "stock": 1, "stock: a": 1}, None, BOTH, "fast; fallback: a"),
        ({"fast": 1}, "TypeError", REFUSED, "refused: TypeError"),
        ({}, None, TRACED, "stock, traced; not counted"),
    ],
)
def test_what_the_counters_saw_decides_the_path(calls, refusal, path, cell):
    assert path_of(Counter(calls), refusal) == (path, cell)
