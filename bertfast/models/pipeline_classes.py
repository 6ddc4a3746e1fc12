"""Those of transformers' pipelines whose results hold no padding: their encoder may leave it out.

Only where everything from the text to the result is transformers' own code; anything unusual, and every position is
computed. transformers imports its pipelines, and much with them, when they are first asked for: known by name here.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from bertfast.hooks import replaced_method
from bertfast.models.stand_ins import StandIns
from bertfast.models.watchers import OwnMethods

_HOMES = {
    "TokenClassificationPipeline": "transformers.pipelines.token_classification",
    "FillMaskPipeline": "transformers.pipelines.fill_mask",
}
# By the class that stands in: its own methods, and those of the class it stands in for, which it calls.
_methods: dict[type, tuple[OwnMethods, OwnMethods]] = {}


def accelerated_class(kind: type) -> type | None:
    """The class that stands in for one of transformers' pipelines; None for any other class."""
    home = _HOMES.get(kind.__name__)
    if home is None or getattr(sys.modules.get(home), kind.__name__, None) is not kind:
        return None
    fast = _stand_ins.stand_in(kind)
    if fast not in _methods:
        _methods[fast] = OwnMethods(fast), OwnMethods(kind)
    return fast


def _body(kind: Any) -> dict[str, Any]:
    """What the class that stands in for ``kind`` does otherwise. ``forward`` stays: its caller sees what it gives."""

    @functools.wraps(kind.get_iterator)
    def get_iterator(self: Any, *args: Any, **kwargs: Any) -> Any:
        results = kind.get_iterator(self, *args, **kwargs)
        if not _is_own(self):
            return results
        # The pipeline's class is loaded, and pt_utils with it.
        from bertfast.models.pipeline_iterators import leave_padding_out

        return leave_padding_out(self, results, _reads_no_padding)

    return {"get_iterator": get_iterator}


# No mixin: an object may change its class only for one of the same layout.
_stand_ins = StandIns(__name__, body=_body)


def stock_class(kind: type) -> type | None:
    """The class that ``kind`` stands in for; None if it stands in for none."""
    return _stand_ins.stock(kind)


def _is_own(pipe: Any) -> bool:
    """Whether all methods of a pipeline are transformers' own and bertfast's."""
    methods = _methods.get(type(pipe), ())
    return bool(methods) and all(found.unchanged() for found in methods) and replaced_method(pipe) is None


def _reads_no_padding(pipe: Any, inputs: Any) -> bool:
    """Whether transformers' own code makes the results, and every position that it reads of this batch is real."""
    return (
        _is_own(pipe)
        and isinstance(inputs, Mapping)
        and _are_real(_read_positions(pipe, inputs), inputs.get("attention_mask"))
    )


def _read_positions(pipe: Any, inputs: Mapping[str, Any]) -> Any:
    """Which positions ``postprocess`` looks at: [B, S] bool, whatever made the inputs."""
    if type(pipe).__name__ == "FillMaskPipeline":
        return inputs.get("input_ids") == pipe.tokenizer.mask_token_id
    return inputs.get("special_tokens_mask") == 0


def _are_real(read: Any, mask: Any) -> bool:
    """Whether the mask shows all the positions that are read. Values on a device would have to be waited for."""
    if not isinstance(read, Tensor) or not isinstance(mask, Tensor) or read.shape != mask.shape:
        return False
    on_host = read.device.type == "cpu" and mask.device.type == "cpu"
    return on_host and bool(((mask == 1) | ~read).all())


def __getattr__(name: str) -> type:
    # Where pickle looks for the class, perhaps in a process that has not imported the pipelines yet.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    __import__(_HOMES[name])
    made = accelerated_class(getattr(sys.modules[_HOMES[name]], name))
    assert made is not None
    return made
