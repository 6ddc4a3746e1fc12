"""How far two results may be apart, per dtype, and the functions that compare them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Tolerance:
    """Largest relative errors ``||a - b|| / ||b||`` over a whole tensor (Frobenius norm).

    op: one op against its float64 oracle, which sees the same rounded inputs. model: any output of a whole model
    against stock transformers. gradient: the same for gradients, see `assert_gradients_close`.
    """

    op: float
    model: float
    gradient: float


TOLERANCES = {
    # Sums of a few hundred terms in another order: up to 4e-16 per op and 3e-15 per model were seen.
    torch.float64: Tolerance(op=2e-15, model=1e-14, gradient=1e-13),
    # model: the published bound; the tiny models reach half of it. op: some unit roundoffs (6e-8), one for each
    # rounding inside of it.
    torch.float32: Tolerance(op=5e-7, model=2e-6, gradient=5e-6),
    # op: stored once or twice, half a unit in the last place (4.9e-4) at most each time. model: ten of these; logits,
    # differences of rounded hidden states, reached six.
    torch.float16: Tolerance(op=1e-3, model=5e-3, gradient=1e-2),
    # The same with a unit roundoff of 3.9e-3; logits reached eight.
    torch.bfloat16: Tolerance(op=8e-3, model=4e-2, gradient=8e-2),
}


@dataclass(frozen=True)
class ReducedTolerance:
    """Largest relative errors, as in `Tolerance`, where float32 weights are multiplied in a reduced precision.

    dense: one dense layer, with what follows its product, against its float64 oracle, inputs not rounded. model: any
    output of a whole model at real tokens against float32. cosine: the least similarity of a text's embedding to that
    in float32. peer: as model, of the other packages that benchmarks/compare_cpu.py runs.
    """

    dense: float
    model: float
    cosine: float
    peer: float


REDUCED_TOLERANCES = {
    # dense: normally distributed inputs and weights and the result are rounded, by 2^-9 at most each; 2.7e-3 was seen.
    # model: logits of the tiny random models reach 8.5e-3, MiniLM's hidden states 6.6e-3. peer: some round the
    # residual stream too.
    "bfloat16": ReducedTolerance(dense=4e-3, model=1e-2, cosine=0.9999, peer=5e-2),
    # dense: the largest of a few hundred normally distributed values is 3 to 4 deviations, a step of which 127 make is
    # a third of 1 % in the mean; 8.0e-3 was seen. model: MiniLM's hidden states, some of which have outliers, reach
    # 7.2e-2, the tiny random models 2.9e-2. peer: some have one scale for a whole tensor.
    "int8": ReducedTolerance(dense=1.5e-2, model=8e-2, cosine=0.995, peer=1e-1),
}

# bertfast may be this much further from a float64 run than stock is, both being rounding noise of one size.
TRUTH_RATIO = 1.2
# A kernel may be this much further from it than torch's own op of the same dtype, which adds up in another order and,
# in half precision, rounds more often or less often in between.
KERNEL_RATIO = 2.0


def other_order(unit_roundoff: float) -> dict[str, float]:
    """For numpy's ``assert_allclose``: one kernel's result, of numbers around 1, where its sums go in another order.

    Each of the two is rounded once when it is stored, and the sums of a few dozen terms by some units of float32.
    """
    return {"rtol": 8 * unit_roundoff, "atol": 4 * unit_roundoff}


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """``||actual - expected|| / ||expected||`` in float64; NaN if either holds one."""
    assert actual.shape == expected.shape, f"shape {list(actual.shape)}, expected {list(expected.shape)}"
    actual, expected = actual.detach().double(), expected.detach().double()
    distance, size = (actual - expected).norm().item(), expected.norm().item()
    if distance == 0:
        return 0.0
    return distance / size if size else float("inf")


def assert_close(actual: Tensor, expected: Tensor, bound: float, where: str = "result") -> None:
    """Same dtype, same shape, relative error within ``bound``. NaN is never close."""
    assert actual.dtype == expected.dtype, f"{where}: {actual.dtype}, expected {expected.dtype}"
    error = relative_error(actual, expected)
    assert error <= bound, f"{where}: relative error {error:.2e}, allowed {bound:.2e}"


def assert_same_output(actual: Any, expected: Any, bound: float, where: str = "output") -> None:
    """Two outputs of a model: same types, same keys, same lengths, all tensors within ``bound``."""
    assert type(actual) is type(expected), f"{where}: {type(actual)}, expected {type(expected)}"
    if isinstance(expected, Tensor):
        assert actual.requires_grad == expected.requires_grad, f"{where}.requires_grad"
        assert_close(actual, expected, bound, where)
    elif isinstance(expected, dict):
        assert list(actual) == list(expected), where
        for name in expected:
            assert_same_output(actual[name], expected[name], bound, f"{where}.{name}")
    elif isinstance(expected, tuple):
        assert len(actual) == len(expected), f"{where}: {len(actual)} parts, expected {len(expected)}"
        for i, (part, wanted) in enumerate(zip(actual, expected, strict=True)):
            assert_same_output(part, wanted, bound, f"{where}[{i}]")
    else:
        assert actual == expected, where


def assert_no_further_from_truth(actual: Tensor, stock: Tensor, truth: Tensor, ratio: float = TRUTH_RATIO) -> None:
    """``actual`` is as good an approximation of the float64 ``truth`` as ``stock`` is, but for a factor ``ratio``.

    Below half a unit in the last place of the result's own dtype, which of two is closer is luck (both are correctly
    rounded, or stock happened to hit a tie), so stock's error counts as at least that.
    """
    floor = torch.finfo(stock.dtype).eps / 2
    stock_error = max(relative_error(stock.double(), truth), floor)
    error = relative_error(actual.double(), truth)
    assert error <= ratio * stock_error, f"{error:.3e} from the truth, stock {stock_error:.3e}"


def assert_gradients_close(actual: dict[str, Tensor | None], expected: dict[str, Tensor | None], bound: float) -> None:
    """Gradients by parameter name, each within ``bound`` of stock's, and None where stock's is None.

    Some gradients are zero but for rounding (softmax does not see a key bias), so none is measured against less
    than a hundredth of the largest.
    """
    assert actual.keys() == expected.keys()
    sizes = [g.double().norm().item() for g in expected.values() if g is not None]
    assert sizes, "stock has no gradients to compare with"
    smallest = 1e-2 * max(sizes)
    for name, wanted in expected.items():
        found = actual[name]
        assert (found is None) == (wanted is None), f"{name}: {found} expected {wanted}"
        if wanted is None:
            continue
        assert found.dtype == wanted.dtype, name
        assert found.shape == wanted.shape, name
        distance = (found.double() - wanted.double()).norm().item()
        allowed = bound * max(wanted.double().norm().item(), smallest)
        assert distance <= allowed, f"gradient of {name}: {distance:.2e} apart, allowed {allowed:.2e}"
