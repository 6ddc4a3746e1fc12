"""Errors and ratios."""

from __future__ import annotations

import numpy as np
import pytest

from bertfast.bench.accuracy import Accuracy, accuracy, cosines
from bertfast.bench.measure import against_best_peer, tokens_per_s
from bertfast.bench.timing import Run
from bertfast.bench.workloads import Workload, random_batch

from .results import timing


def test_logits_and_pooled_outputs_are_judged_apart():
    expected = np.array([[3, 4, 1, 0], [0, 0, 0, 1]], dtype=np.float32)
    found = expected.copy()
    found[0, :2] *= 1.5
    found[1, 2:] = 1
    judged = accuracy(found, expected, 2)
    assert judged.logits_error == pytest.approx(0.5)
    assert judged.pooled_error == pytest.approx(1 / np.sqrt(2))
    assert judged.pooled_cosine == pytest.approx(1 / np.sqrt(2)), "the least of the two"


def test_cosines_are_of_row_with_row():
    a = np.array([[1, 0], [1, 1]], dtype=np.float32)
    assert cosines(a, 3 * a[::-1]) == pytest.approx([np.sqrt(0.5)] * 2)


def test_the_best_peer_is_the_one_with_least_cpu_time_and_wall_time_has_its_own():
    timings = {"bertfast": timing(10, 20), "openvino": timing(40, 30), "transformers": timing(25, 60)}
    assert against_best_peer(timings) == ("transformers", 2.5, 1.5)


def test_there_is_no_ratio_without_ours_or_without_a_peer():
    assert against_best_peer({"openvino": timing(1)}) == ("openvino", None, None)
    assert against_best_peer({"bertfast": timing(1)}) == (None, None, None)


def test_bertfast_with_other_options_is_no_peer():
    timings = {"bertfast": timing(10), "bertfast-released": timing(5), "openvino": timing(20)}
    assert against_best_peer(timings) == ("openvino", 2.0, 2.0)


def test_a_model_without_a_head_has_no_error_of_logits():
    vectors = np.eye(2, dtype=np.float32)
    assert accuracy(vectors, vectors, 2) == Accuracy(None, 0.0, 1.0)


def test_tokens_per_second_are_of_all_batches_by_their_medians():
    workload = Workload("texts", 2, (random_batch((4, 6), 6), random_batch((10,), 10)))
    walls = [100.0, 300.0, 100.0, 300.0, 900.0, 300.0]
    assert tokens_per_s([Run(1.0, wall, 1.0, 1.0) for wall in walls], workload) == pytest.approx(20 / 0.4)
