"""What the scripts accept on their command lines."""

from __future__ import annotations

import argparse

import pytest

from bertfast.bench.options import at_least, counts, names_of, shares


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


@pytest.mark.parametrize("given", ["0", "1,", "1,x", ""])
def test_counts_are_positive_integers(given):
    assert counts("8,1,8") == [8, 1]
    with pytest.raises(argparse.ArgumentTypeError, match="expected an integer of at least 1"):
        counts(given)


@pytest.mark.parametrize("given", ["0", "1.5", "x", "0.5,", "nan", ""])
def test_shares_are_above_zero_and_up_to_one(given):
    assert shares("1,0.25,1.0") == [1.0, 0.25]
    with pytest.raises(argparse.ArgumentTypeError, match="expected numbers above 0 and up to 1, got"):
        shares(given)
