"""What the scripts accept on their command lines."""

from __future__ import annotations

import argparse

import pytest
from cpu.options import add_common, at_least, folder_for, names_of


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


def test_comparisons_have_the_same_options():
    parser = argparse.ArgumentParser()
    add_common(parser, ["float32", "int8"])
    plain, given = parser.parse_args([]), parser.parse_args(["--precisions", "int8", "--threads", "2", "--json", "a/b"])
    assert vars(plain) == {"precisions": ["float32", "int8"], "threads": 1, "cache": None, "json": None}
    assert (given.precisions, given.threads, str(given.json)) == (["int8"], 2, "a/b")
