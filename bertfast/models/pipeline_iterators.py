"""The iterators of transformers' pipelines, for pipelines that read no padding.

A pipeline over many texts is two iterators: one runs the model on a batch and gives its outputs text by text, the
other one makes results of them. Both are the caller's if the texts are a data set or a generator; so padding is left
out only while results are asked for, and computed after all if somebody begins to look in the middle of a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from torch import nn
from transformers.pipelines import pt_utils

from bertfast.hooks import replaced_method
from bertfast.models.bert import reading
from bertfast.models.token_heads import encoder_of_token_head
from bertfast.models.watchers import OwnMethods
from bertfast.options import Reads

#: The iterator that is making a result.
_asked: ContextVar[Results | None] = ContextVar("bertfast_asked", default=None)

#: Of a pipeline and a batch: whether transformers' own code, and nobody else, reads the outputs, and no padding.
ReadsNoPadding = Callable[[Any, Any], bool]


class RunModel:
    """A pipeline's ``forward``, without padding where only ``postprocess`` will see the outputs."""

    def __init__(self, pipe: Any, forward: Callable[..., Any], reads_no_padding: ReadsNoPadding) -> None:
        self._pipe, self._forward, self._reads_no_padding = pipe, forward, reads_no_padding
        #: The last batch, the model and its encoder, if padding was left out.
        self._shortened: tuple[Any, Any, nn.Module] | None = None

    def __call__(self, inputs: Any, **parameters: Any) -> Any:
        """The outputs of a batch."""
        self._shortened = None
        model = self._pipe.model
        encoder = None if parameters or not self._is_unseen(inputs) else encoder_of_token_head(model)
        if encoder is None:
            return self._forward(inputs, **parameters)
        with reading(encoder, Reads.TOKENS):
            outputs = self._forward(inputs)
        self._shortened = inputs, model, encoder
        return outputs

    def again(self) -> Any:
        """The outputs of the last batch with padding, if they lack it and somebody sees them by now; else None.

        None, too, if the model was changed since it ran: it would give something else now.
        """
        if self._shortened is None:
            return None
        inputs, model, encoder = self._shortened
        if self._is_unseen(inputs) or self._pipe.model is not model or encoder_of_token_head(model) is not encoder:
            return None
        return self(inputs)

    def _is_unseen(self, inputs: Any) -> bool:
        asked = _asked.get()
        return asked is not None and asked.reads_only(self, self._pipe) and self._reads_no_padding(self._pipe, inputs)


class _Outputs:
    """The model's outputs, text by text."""

    infer: Any
    _loader_batch_data: Any

    def loader_batch_item(self) -> Any:
        """As transformers' own."""
        complete = self.infer.again() if isinstance(self.infer, RunModel) else None
        if complete is not None:
            self._loader_batch_data = complete
        return super().loader_batch_item()  # type: ignore[misc]


class Outputs(_Outputs, pt_utils.PipelineIterator):
    """transformers' ``PipelineIterator`` over a model's outputs."""


class PackedOutputs(_Outputs, pt_utils.PipelinePackIterator):
    """transformers' ``PipelinePackIterator`` over a model's outputs, which are a text's in several pieces."""


class Results(pt_utils.PipelineIterator):
    """transformers' ``PipelineIterator`` over a pipeline's results."""

    iterator: Any

    def __next__(self) -> Any:
        before = _asked.get()
        try:
            _asked.set(self)
            return super().__next__()
        finally:
            _asked.set(before)

    def reads_only(self, run: RunModel, pipe: Any) -> bool:
        """Whether the outputs of ``run`` go to the pipeline's ``postprocess`` and to nobody else."""
        outputs: Any = getattr(self, "iterator", None)
        return (
            type(outputs) in (Outputs, PackedOutputs)
            and outputs.infer is run
            and self.infer == pipe.postprocess
            and replaced_method(outputs) is None
            and all(methods.unchanged() for methods in _METHODS)
        )


_METHODS = [OwnMethods(kind) for kind in (Outputs, PackedOutputs, Results)]
_OF_OUTPUTS = {pt_utils.PipelineIterator: Outputs, pt_utils.PipelinePackIterator: PackedOutputs}


def leave_padding_out(pipe: Any, results: Any, reads_no_padding: ReadsNoPadding) -> Any:
    """The iterator over a pipeline's results as one that leaves padding out; what is not transformers' own stays."""
    outputs: Any = getattr(results, "loader", None)
    kind = _OF_OUTPUTS.get(type(outputs))
    if type(results) is not pt_utils.PipelineIterator or kind is None or outputs.infer != pipe.forward:
        return results
    run = RunModel(pipe, outputs.infer, reads_no_padding)
    made = kind(outputs.loader, run, outputs.params, outputs.loader_batch_size)
    return Results(made, results.infer, results.params, results.loader_batch_size)
