"""How far outputs may be from stock transformers in float32, by what the model is multiplied in, and why so far."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Limits:
    """relative_error: ``||a - b|| / ||b||`` of an output over all texts; over those of a length bucket, twice as much.
    cosine: the least of the mean over a text's tokens. max_abs_error: of any value, None for no limit. agreement: the
    share of equal argmaxes; None: all must be equal where stock is decided, see `lead`. reason: of the first two.
    """

    relative_error: float
    cosine: float
    reason: str
    max_abs_error: float | None = None
    agreement: float | None = None

    @property
    def lead(self) -> float:
        """Stock is decided where its first class leads by more than this share of its largest value.

        Ten times the limit, which is of all texts together: a single vector may be several times as far off.
        """
        return 10 * self.relative_error


_LAYERS = 12
# A test holds them to the bounds that bertfast's own tests hold.
_BY_DTYPE = {
    "float32": Limits(2e-6, 0.999999, "sums in another order: the bound that bertfast's tests hold"),
    "float16": Limits(5e-3, 0.9999, "ten roundings to 11 bits; logits are differences of rounded states"),
    "bfloat16": Limits(4e-2, 0.999, "ten roundings to 8 bits; logits are differences of rounded states"),
}
_BY_PRECISION = {
    "bfloat16": Limits(1e-2, 0.9999, "factors of matrix products rounded to 8 bits, all else in float32"),
    "int8": Limits(8e-2, 0.995, "factors of matrix products in 255 steps, of models that have outliers"),
}


def default_limits(dtype: str, reduced: str | None = None, layers: int = _LAYERS) -> Limits:
    """dtype: of the model, ``"float32"``. reduced: what float32 weights are multiplied in instead.

    layers: of the model. The bounds are of up to 12; every layer rounds, and each further one adds its share.
    """
    limits = _BY_PRECISION.get(reduced or "", _BY_DTYPE[dtype])
    return replace(limits, relative_error=limits.relative_error * max(1.0, layers / _LAYERS))
