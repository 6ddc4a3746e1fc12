"""How two results are told apart: against formulas over all values at once, and with what must never pass."""

from __future__ import annotations

import math

import pytest
import torch
from tolerances import REDUCED_TOLERANCES, TOLERANCES

from bertfast.verification.buckets import bucket
from bertfast.verification.differences import combine, mean_square, relative_error, text_difference
from bertfast.verification.limits import default_limits


def _parts(actual, expected, lead=None):
    pairs = zip(actual, expected, strict=True)
    return [text_difference(a, b, i, len(a), lead) for i, (a, b) in enumerate(pairs)]


def _combined(actual, expected, lead=None):
    parts = _parts(actual, expected, lead)
    return combine(parts, mean_square(parts))


@pytest.fixture
def results():
    generator = torch.Generator().manual_seed(3)
    expected = [torch.randn(count, 5, generator=generator).double() for count in (4, 1, 7)]
    actual = [x + 0.01 * torch.randn(x.shape, generator=generator) for x in expected]
    return actual, expected


def test_many_texts_are_as_one_long_text(results):
    actual, expected = map(torch.cat, results)
    found = _combined(*results, lead=0.5)
    assert found.relative_error == pytest.approx(((actual - expected).norm() / expected.norm()).item())
    assert found.max_abs_error == pytest.approx((actual - expected).abs().max().item())
    cosines = torch.nn.functional.cosine_similarity(actual, expected, dim=-1)
    assert found.cosine_least == pytest.approx(cosines.min().item())
    assert found.cosine_mean == pytest.approx(cosines.mean().item())
    assert found.agreement == (actual.argmax(-1) == expected.argmax(-1)).double().mean().item()
    assert (found.texts, found.not_finite) == (3, 0)


def test_equal_results_differ_by_nothing(results):
    _, expected = results
    found = _combined(expected, expected, lead=0.5)
    assert (found.relative_error, found.max_abs_error, found.agreement) == (0, 0, 1)
    assert found.cosine_least == found.cosine_mean == 1


def test_the_worst_text_is_found(results):
    actual, expected = results
    actual[1] = actual[1] + 1
    assert _combined(actual, expected).worst_text == 1


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("text", [0, 2])
def test_what_is_not_finite_is_never_within_a_limit(results, side, value, text):
    results[side][text][0, 0] = value
    found = _combined(*results, lead=0.5)
    assert not found.relative_error <= 1e30
    assert not found.max_abs_error <= 1e30
    assert found.not_finite == 1
    if math.isnan(value):
        assert not found.cosine_least >= -1
        assert found.worst_text == text


def test_nan_in_both_is_not_equal(results):
    for side in results:
        side[0][0, 0] = math.nan
    assert not _combined(*results).relative_error <= 1e30


def test_a_score_near_zero_is_measured_against_what_others_have():
    expected = [torch.tensor([[1e-9]]), torch.tensor([[1.0]])]
    actual = [torch.tensor([[2e-9]]), torch.tensor([[1.0]])]
    parts = _parts(actual, expected)
    assert relative_error(parts[:1], mean_square(parts)) == pytest.approx(1e-9 / math.sqrt(0.5))
    assert relative_error(parts[:1], 0) == pytest.approx(1)


def test_an_error_where_nothing_is_expected_is_infinite():
    zeros = [torch.zeros(1, 3)]
    assert _combined([torch.ones(1, 3)], zeros).relative_error == math.inf
    assert _combined(zeros, zeros).relative_error == 0
    assert _combined([torch.ones(1, 3)], zeros).cosine_least == 0


def test_a_choice_counts_where_stock_is_decided():
    expected = [torch.tensor([[1.0, 0.999, 0.0], [1.0, 0.2, 0.0]])]
    found = _combined([torch.tensor([[0.999, 1.0, 0.0], [1.0, 0.2, 0.0]])], expected, lead=0.01)
    assert (found.agreement, found.decided_agreement) == (0.5, 1)
    found = _combined([torch.tensor([[1.0, 0.999, 0.0], [0.2, 1.0, 0.0]])], expected, lead=0.01)
    assert (found.agreement, found.decided_agreement) == (0.5, 0)


def test_single_numbers_have_no_direction_and_are_no_choice():
    found = _combined([torch.tensor([[1.0]])], [torch.tensor([[1.5]])], lead=0.1)
    assert found.cosine_least is found.cosine_mean is found.agreement is found.decided_agreement is None


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"shapes \[1, 3\] and \[1, 4\]"):
        _parts([torch.ones(1, 3)], [torch.ones(1, 4)])


def test_buckets():
    found = [bucket(tokens) for tokens in (1, 16, 17, 128, 129, 512, 513, 9000)]
    assert found == ["1-16", "1-16", "17-32", "65-128", "129-256", "257-512", "over 512", "over 512"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_limits_are_the_bounds_of_the_tests(dtype):
    assert default_limits(str(dtype).removeprefix("torch.")).relative_error == TOLERANCES[dtype].model


@pytest.mark.parametrize("precision", REDUCED_TOLERANCES)
def test_limits_of_precisions_are_the_bounds_of_the_tests(precision):
    limits = default_limits("float32", precision)
    assert limits.relative_error == REDUCED_TOLERANCES[precision].model
    assert limits.cosine == REDUCED_TOLERANCES[precision].cosine


def test_more_layers_may_round_more():
    assert default_limits("float32", layers=6) == default_limits("float32", layers=12)
    assert default_limits("float32", layers=24).relative_error == pytest.approx(4e-6)
