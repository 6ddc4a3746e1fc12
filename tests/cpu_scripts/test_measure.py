"""Errors and ratios."""

from __future__ import annotations

import numpy as np
import pytest
from cpu.accuracy import accuracy, cosines
from cpu.measure import against_best_peer

from .results import timing


def test_logits_and_pooled_outputs_are_judged_apart():
    expected = np.array([[3, 4, 1, 0], [0, 0, 0, 1]], dtype=np.float32)
    found = expected.copy()
    found[0, :2] *= 1.5
    found[1, 2:] = 1
    judged = accuracy(found, expected)
    assert judged.logits_error == pytest.approx(0.5)
    assert judged.pooled_error == pytest.approx(1 / np.sqrt(2))
    assert judged.pooled_cosine == pytest.approx(1 / np.sqrt(2)), "the least of the two"


def test_cosines_are_of_row_with_row():
    a = np.array([[1, 0], [1, 1]], dtype=np.float32)
    assert cosines(a, 3 * a[::-1]) == pytest.approx([np.sqrt(0.5)] * 2)


def test_the_best_peer_is_the_one_with_least_cpu_time_and_wall_time_has_its_own():
    timings = {"bertfast": timing(10, 20), "slow": timing(40, 30), "fast": timing(25, 60)}
    assert against_best_peer(timings) == ("fast", 2.5, 1.5)


def test_there_is_no_ratio_without_ours_or_without_a_peer():
    assert against_best_peer({"fast": timing(1)}) == ("fast", None, None)
    assert against_best_peer({"bertfast": timing(1)}) == (None, None, None)
