"""sentence-transformers' ``SentenceTransformer``: its pooling masks the padding, so nobody sees what stands there.

The package is known by its names only, and never imported by bertfast: versions 5 and 6 keep their modules in
different places.
"""

from __future__ import annotations

import functools
import inspect
import sys
from typing import Any

import torch
from torch import Tensor, nn

from bertfast.hooks import is_watched
from bertfast.models.bert import BertModel, reading
from bertfast.models.stand_ins import StandIns
from bertfast.options import Reads
from bertfast.origin import is_defined_in

_EMBEDDING = "sentence_embedding"
# What may follow the encoder: Pooling reads the tokens, under the mask in all of its modes; the others read its result.
_AFTER_THE_ENCODER = ("Pooling", "Dense", "Normalize")


class _MasksPadding:
    """``encode`` tells the encoder what it reads. ``forward`` does not: its caller gets the token embeddings too."""

    def encode(self, *args: Any, **kwargs: Any) -> Any:
        """As sentence-transformers' own; padding is left out where only sentence embeddings are asked for."""
        encode = super().encode  # type: ignore[misc]
        encoder = _encoder_behind_pooling(self)
        names = inspect.signature(encode).parameters
        wanted = {**dict(zip(names, args, strict=False)), **kwargs}.get("output_value", _EMBEDDING)
        if encoder is None or wanted != _EMBEDDING:
            return encode(*args, **kwargs)
        with reading(encoder, Reads.TOKENS):
            return encode(*args, **kwargs)


def _pooling_body(stock: Any) -> dict[str, Any]:
    """What a pooling of each text by itself does otherwise. How sums are added up depends on what they sum."""

    @functools.wraps(stock.forward)
    def forward(self: Any, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        tokens, mask = features["token_embeddings"], features.get("attention_mask")
        if tokens.dim() != 3 or "cu_seq_lens_q" in features or mask is None or mask.shape != tokens.shape[:2]:
            return stock.forward(self, features, **kwargs)  # type: ignore[no-any-return]
        ends = (mask != 0).mul(torch.arange(1, mask.shape[1] + 1, device=mask.device)).amax(1).tolist()
        vectors = []
        for b, end in enumerate(ends):
            one = {name: _row(value, b, len(ends)) for name, value in features.items()}
            one.update(token_embeddings=tokens[b : b + 1, :end], attention_mask=mask[b : b + 1, :end])
            vectors.append(stock.forward(self, one, **kwargs)[_EMBEDDING])
        features[_EMBEDDING] = torch.cat(vectors)
        return features

    return {"forward": forward}


def _row(value: Any, row: int, rows: int) -> Any:
    is_by_row = isinstance(value, Tensor) and value.dim() > 0 and value.shape[0] == rows
    return value[row : row + 1] if is_by_row else value


_stand_ins = StandIns(__name__, _MasksPadding)
# No mixin: an object may change its class only for one of the same layout.
_poolings = StandIns(__name__, body=_pooling_body)


def pool_apart(root: nn.Module, apart: bool) -> None:
    """Let sentence-transformers' poolings inside of ``root`` pool each text by itself, or all together as they did."""
    for module in root.modules():
        kind = _poolings.stock(type(module))
        if apart and _comes_from_there(type(module), "Pooling"):
            module.__class__ = _poolings.stand_in(type(module))
        elif not apart and kind is not None:
            module.__class__ = kind


def accelerated_class(kind: type) -> type | None:
    """The class that stands in for sentence-transformers' ``SentenceTransformer``; None for any other class."""
    return _stand_ins.stand_in(kind) if _comes_from_there(kind, "SentenceTransformer") else None


def stock_class(kind: type) -> type | None:
    """The class that ``kind`` stands in for; None if it stands in for none."""
    return _stand_ins.stock(kind)


def _encoder_behind_pooling(model: Any) -> nn.Module | None:
    """The accelerated encoder of a plain chain of encoder, pooling and what follows, if nothing else looks at it."""
    chain = list(model.children())
    if not all(_runs_its_own_forward(m) for m in (model, *chain)):
        return None
    first, *others = chain or [None]
    kinds = [_poolings.stock(type(m)) or type(m) for m in others]
    if not (kinds and _comes_from_there(type(first), "Transformer") and _comes_from_there(kinds[0], "Pooling")):
        return None
    if not all(any(_comes_from_there(kind, name) for name in _AFTER_THE_ENCODER) for kind in kinds):
        return None
    if any(getattr(m, "module_input_name", _EMBEDDING) != _EMBEDDING for m in others[1:]):
        return None
    encoders = [m for m in first.modules() if type(m) is BertModel]
    return encoders[0] if len(encoders) == 1 else None


def _runs_its_own_forward(module: nn.Module) -> bool:
    """Whether the module runs the package's own ``forward``, and nobody sees what goes through it."""
    kind: Any = _poolings.stock(type(module)) or type(module)
    return not is_watched(module) and is_defined_in("sentence_transformers", kind.forward)


def _comes_from_there(kind: type, name: str) -> bool:
    return kind.__name__ == name and kind.__module__.split(".", 1)[0] == "sentence_transformers"


def __getattr__(name: str) -> type:
    # Where pickle looks for the class, perhaps in a process that has not imported the package yet.
    if name not in ("SentenceTransformer", "Pooling"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    __import__("sentence_transformers")
    if name == "Pooling":
        return _poolings.stand_in(sys.modules["sentence_transformers"].models.Pooling)
    made = accelerated_class(sys.modules["sentence_transformers"].SentenceTransformer)
    assert made is not None
    return made
