"""What the scripts accept on their command lines."""

from __future__ import annotations

import argparse

import pytest
from cpu.options import at_least, folder_for, names_of


@pytest.mark.parametrize(
    ("given", "expected"), [("", ["a", "b", "c"]), ("c,a", ["a", "c"]), ("b, b,", ["b"])], ids=["all", "order", "once"]
)
def test_names_are_taken_in_the_order_of_those_allowed(given, expected):
    assert names_of(["a", "b", "c"])(given) == expected


def test_an_unknown_name_is_refused_with_those_allowed():
    with pytest.raises(argparse.ArgumentTypeError, match="expected names of a, b, got d"):
        names_of(["a", "b"])("a,d")


@pytest.mark.parametrize("given", ["1", "-3", "two", "2.5", ""])
def test_a_count_that_is_too_small_or_none_is_refused(given):
    with pytest.raises(argparse.ArgumentTypeError, match=f"expected an integer of at least 2, got {given}"):
        at_least(2)(given)


def test_exported_files_go_to_a_folder_of_their_model_and_versions_or_away(tmp_path):
    with folder_for("tiny", tmp_path) as kept:
        assert kept.parent == tmp_path
        assert kept.name.startswith("tiny-torch")
    with folder_for("tiny", None) as lost:
        assert lost.is_dir()
    assert kept.is_dir()
    assert not lost.exists()
