"""`Copied` by itself: which changes of tensors it sees. That models ask it: tests/dropin/test_precision.py."""

from __future__ import annotations

import pytest
import torch

from bertfast.staleness import Copied

_SHAPES = [(1,), (15,), (16,), (17,), (33, 5), (5, 33), (64, 48)]


def _transposed(shape):
    return torch.randn(shape[::-1]).t()


@pytest.fixture(params=[torch.randn, _transposed], ids=lambda layout: layout.__name__.strip("_"))
def make(request):
    """``make(shape)``: a tensor of a layout in memory."""
    return request.param


@pytest.mark.parametrize("shape", _SHAPES, ids=str)
def test_nothing_changed(shape, make):
    copied = Copied([make(shape), torch.randn(3)])
    assert copied.unchanged()
    assert copied.unchanged()


@pytest.mark.parametrize("shape", _SHAPES, ids=str)
def test_what_autograd_counts_is_seen(shape, make):
    """Even if it changes no value."""
    tensors = [torch.randn(3), make(shape)]
    copied = Copied(tensors)
    with torch.no_grad():
        tensors[1].view(shape)[..., -1:] += 0
    assert not copied.unchanged()


@pytest.mark.parametrize("shape", _SHAPES, ids=str)
def test_a_change_of_a_whole_tensor_is_seen_though_nobody_counts_it(shape, make):
    tensors = [torch.randn(3), make(shape)]
    copied = Copied(tensors)
    tensors[1].data.add_(1)
    assert not copied.unchanged()


@pytest.mark.parametrize("eighth", range(8))
def test_values_are_taken_from_all_over(eighth):
    tensor = torch.randn(64, 48)
    copied = Copied([tensor])
    tensor.data.view(8, -1)[eighth].zero_()
    assert not copied.unchanged()


def test_few_values_are_compared():
    """What the check costs does not grow with the tensors, and one value may change unseen."""
    tensor = torch.randn(64, 48)
    copied = Copied([tensor])
    seen = 0
    for i in range(tensor.numel()):
        kept = tensor.data.view(-1)[i].clone()
        tensor.data.view(-1)[i] += 1
        seen += not copied.unchanged()
        tensor.data.view(-1)[i] = kept
    assert copied.unchanged()
    assert 16 <= seen <= 32


def test_a_layout_that_would_be_copied_is_refused():
    """A copy would never change. No model gets here with one: the guard refuses other strides."""
    with pytest.raises(RuntimeError, match="view"):
        Copied([torch.randn(6, 8)[:, ::2]])


def test_nan_is_what_it_was():
    tensor = torch.full((4, 4), float("nan"))
    copied = Copied([tensor])
    assert copied.unchanged()
    tensor.data.zero_()
    assert not copied.unchanged()


def test_a_zero_that_changes_its_sign_is_seen():
    tensor = torch.zeros(4)
    copied = Copied([tensor])
    tensor.data.neg_()
    assert not copied.unchanged()


def test_inference_tensors_are_compared_by_value():
    with torch.inference_mode():
        tensor = torch.randn(8, 8)
    copied = Copied([tensor])
    assert copied.unchanged()
    with torch.inference_mode():
        tensor.mul_(2)
    assert not copied.unchanged()


@pytest.mark.parametrize("tensors", [[], [torch.empty(0)], [torch.empty(0, 3), torch.ones(2)]], ids=len)
def test_what_holds_nothing_does_not_change(tensors):
    assert Copied(tensors).unchanged()
