"""The engine of one encoder: checks a call, keeps the prepared weights, runs the packed encoder or says why not."""

from __future__ import annotations

import logging
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bertfast import compat, guard
from bertfast.arguments import argument_reason, hidden_states_wanted
from bertfast.autograd import StockForward, differentiable
from bertfast.cuda import is_capturing
from bertfast.errors import FallbackError
from bertfast.families import Refused
from bertfast.families import bert as family
from bertfast.forward import packed_forward, packed_tokens
from bertfast.graphs import GraphCache
from bertfast.inputs import EncoderInputs, check_inputs
from bertfast.late import LateChecks, check_late_counts, check_late_ids
from bertfast.ops.unpad_input import PackedCounts
from bertfast.options import Options, Reads
from bertfast.padding import Layout, computed_mask, lay_out
from bertfast.reporting import FAST, STOCK, Call, count, logger
from bertfast.runner import LayerRunner
from bertfast.weights import EncoderWeights, build_weights

_ATTRIBUTE = "_bertfast_engine"


#: Set while `bertfast.explain` asks which path a call would take.
PROBING: ContextVar[bool] = ContextVar("bertfast_probing", default=False)


class Probed(BaseException):
    """Ends a call that was only asked about, when its first encoder has decided."""

    def __init__(self, engine: Engine, call: Call) -> None:
        super().__init__(call)
        self.engine, self.call = engine, call


@dataclass(frozen=True)
class _Prepared:
    snapshot: guard.Snapshot
    weights: EncoderWeights
    runner: LayerRunner | None


@dataclass(frozen=True)
class _Plan:
    """What a call will compute. captured: the caller is recording a CUDA graph."""

    prepared: _Prepared
    inputs: EncoderInputs
    layout: Layout
    first_token_only: bool
    wants_states: bool
    captured: bool


class Engine:
    """Runs one ``BertModel``. Safe to call from several threads; copies and pickles start afresh."""

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or Options()
        self.counts: Counter[str] = Counter()
        self.last: Call | None = None
        self._prepared: _Prepared | None = None
        self._lock = threading.RLock()
        self._late = LateChecks()
        self._said_padding = False
        self._owner: weakref.ref[nn.Module] | None = None

    @staticmethod
    def of(model: nn.Module) -> Engine:
        """The engine of a ``BertModel``, made when it is first asked for."""
        engine: Engine | None = model.__dict__.get(_ATTRIBUTE)
        if engine is not None and engine._owner is not None and engine._owner() is not model:
            # A shallow copy of a model (a DataParallel replica) has modules of its own.
            engine = model.__dict__[_ATTRIBUTE] = Engine(engine.options)
        if engine is None:
            # setdefault is atomic: two threads that race here get the same engine.
            engine = model.__dict__.setdefault(_ATTRIBUTE, Engine())
        if engine._owner is None:
            engine._owner = weakref.ref(model)
        return engine

    @staticmethod
    def attach(model: nn.Module, options: Options) -> None:
        """Give a ``BertModel`` a new engine."""
        model.__dict__[_ATTRIBUTE] = Engine(options)

    @staticmethod
    def detach(model: nn.Module) -> None:
        """Take a model's engine away, if it has one."""
        model.__dict__.pop(_ATTRIBUTE, None)

    def __deepcopy__(self, memo: dict[int, Any]) -> Engine:
        return Engine(self.options)

    def __reduce__(self) -> tuple[type[Engine], tuple[Options]]:
        return Engine, (self.options,)

    @property
    def weights(self) -> EncoderWeights | None:
        """The prepared weights, or None before the first fast call."""
        return None if self._prepared is None else self._prepared.weights

    @property
    def graphs(self) -> GraphCache | None:
        """The recordings of small batches; None before the first fast call, and where none are made."""
        runner = None if self._prepared is None else self._prepared.runner
        return None if runner is None else runner.graphs

    def reset(self) -> None:
        """Forget the prepared weights; the next call prepares them again."""
        self._prepared = None

    def forward(
        self,
        model: Any,
        stock: Callable[..., Any],
        arguments: Mapping[str, Any],
        reads: Reads,
    ) -> Any:
        """The outputs of ``BertModel.forward`` for these named arguments, or NotImplemented if stock must run.

        reads: what the caller looks at; for FIRST_TOKEN, ``last_hidden_state`` is [B, 1, H]. Raises the errors of
        `check_inputs`, and FallbackError if ``on_fallback="raise"``; also what `LateChecks` found of an earlier call.
        """
        prepared = self._prepared
        if prepared is None or not is_capturing(prepared.weights.device):
            self._late.run()
        try:
            plan = self._plan(model, arguments, reads)
        except Refused as refusal:
            self.fall_back(model, str(refusal))
            return NotImplemented
        batch = plan.layout.batch
        slots = batch.batch_size * batch.padded_len
        call = Call(FAST, None, batch.num_keys, batch.num_tokens, slots, plan.first_token_only)
        if PROBING.get():
            raise Probed(self, call)
        self._say_padding(plan.layout)
        run = self._runnable(plan)
        if torch.is_grad_enabled():
            outputs = differentiable(run, _stock_forward(model, stock, arguments, plan))
        else:
            outputs = run()
        self._record(call)
        pooled = None if model.pooler is None else model.pooler(outputs[0])
        # The last hidden state is one object, as stock returns it.
        states = (*outputs[1:], outputs[0]) if plan.wants_states else None
        as_tuple = compat.wants_tuple(model.config, arguments)
        return compat.model_output(outputs[0], pooled, states, as_tuple)

    def _plan(self, model: Any, arguments: Mapping[str, Any], reads: Reads) -> _Plan:
        """What this call will compute. Raises Refused with the reason if stock must run, and what is wrong with it."""
        prepared = self.admit(model, arguments)
        wants_states = bool(hidden_states_wanted(model, arguments))
        if wants_states and torch.is_grad_enabled() and _is_trained(model, arguments):
            raise Refused("output_hidden_states with gradients")
        first_token_only = reads is Reads.FIRST_TOKEN and not wants_states and family.reads_first_token(model.pooler)
        weights = prepared.weights
        inputs = check_inputs(arguments, weights.spec, weights.device)
        if inputs.input_ids is not None and inputs.attention_mask is None:
            compat.warn_of_missing_mask(model, inputs.input_ids)
        drop = self.options.drops_padding(first_token_only or reads is Reads.TOKENS)
        captured = is_capturing(weights.device)
        layout = lay_out(inputs, weights, model.config._attn_implementation, drop, may_wait=not captured)
        return _Plan(prepared, inputs, layout, first_token_only, wants_states, captured)

    def _runnable(self, plan: _Plan) -> Callable[[], tuple[Tensor, ...]]:
        """The forward of a planned call."""
        weights, layout = plan.prepared.weights, plan.layout

        def after_embedding(out_of_range: Tensor) -> None:
            if plan.captured:
                return
            if layout.unread is not None:
                self._late.add(layout.unread, lambda counts: check_late_counts(PackedCounts(*counts), weights.spec))
            elif layout.ids_unchecked:
                self._late.add(out_of_range, lambda bits: check_late_ids(bits[0], weights.spec))

        runner = plan.prepared.runner
        small = runner if runner is not None and not plan.captured and runner.takes(layout.batch.num_tokens) else None
        run_small = None if small is None else partial(small, eager=not self.options.cuda_graphs)
        tokens = packed_tokens(weights, plan.inputs, layout.batch, layout.ids_unchecked)
        return packed_forward(
            weights, tokens, layout.batch, plan.first_token_only, plan.wants_states, after_embedding, run_small
        )

    def fall_back(self, model: nn.Module, reason: str) -> None:
        """Count a call that stock transformers will run, and say so once per reason; raises if that was asked for."""
        call = Call(STOCK, reason)
        if PROBING.get():
            raise Probed(self, call)
        new = self._record(call)
        if self.options.on_fallback == "raise":
            raise FallbackError(
                f"{type(model).__name__} would run stock transformers ({reason}), and on_fallback is 'raise'"
            )
        if new and self.options.on_fallback == "log":
            # Fine-tuning is no surprise; anything else the user will want to know.
            level = logging.INFO if reason.startswith("training") else logging.WARNING
            logger.log(level, "bertfast: %s runs stock transformers: %s", type(model).__name__, reason)

    def _record(self, call: Call) -> bool:
        self.last = call
        return count(call, self.counts)

    def admit(self, model: nn.Module, arguments: Mapping[str, Any]) -> _Prepared:
        """The prepared weights if this call may take the fast path. Raises Refused with the reason if not."""
        reason = (
            ("training mode" if model.training else None) or guard.ambient_reason() or argument_reason(model, arguments)
        )
        if reason is not None:
            raise Refused(reason)
        prepared = self._prepared
        if prepared is None or not prepared.snapshot.holds():
            prepared = self._prepare(model)
        if prepared.snapshot.training():
            raise Refused("training mode of a submodule")
        embeds = arguments.get("inputs_embeds")
        if isinstance(embeds, Tensor) and embeds.dtype != prepared.weights.dtype:
            raise Refused(f"inputs_embeds of {embeds.dtype}")
        return prepared

    def _prepare(self, model: nn.Module) -> _Prepared:
        with self._lock:
            # Weights prepared in inference mode would be inference tensors, and the parameters with them.
            with torch.inference_mode(False), torch.no_grad():
                spec, snapshot = guard.inspect_model(model)
                names = family.parameter_names(spec)
                weights = build_weights(spec, {role: snapshot.parameters[name] for role, name in names.items()})
            make_recorder = weights.policy.make_recorder
            runner = None if make_recorder is None else LayerRunner(weights, make_recorder(weights.device))
            self._prepared = _Prepared(snapshot, weights, runner)
            return self._prepared

    def _say_padding(self, layout: Layout) -> None:
        """Say once what computing padding costs, where it was computed because somebody may see it."""
        if self._said_padding or self.options.pad_outputs != "auto":
            return
        hidden, computed = layout.hidden_tokens(), layout.batch.num_tokens
        if hidden > 0:
            self._said_padding = True
            logger.warning(
                "bertfast: computing %d masked tokens of %d (%.0f %%), because the outputs there can be seen; "
                "if you do not read them, bertfast.accelerate(model, pad_outputs='zero') drops them",
                hidden,
                computed,
                100 * hidden / computed,
            )


def _stock_forward(
    model: nn.Module, stock: Callable[..., Any], arguments: Mapping[str, Any], plan: _Plan
) -> StockForward:
    """How stock transformers would compute the same, for a backward pass."""
    weights, layout = plan.prepared.weights, plan.layout
    kept = {name: value.to(weights.device) if isinstance(value, Tensor) else value for name, value in arguments.items()}
    mask, embeds = arguments.get("attention_mask"), arguments.get("inputs_embeds")
    if mask is not None:
        kept["attention_mask"] = kept["attention_mask"].clone()
    if embeds is not None and not embeds.requires_grad:
        kept["inputs_embeds"] = kept["inputs_embeds"].clone()
    computed = None if plan.first_token_only else computed_mask(plan.inputs, weights, layout.drops)
    visible = None if computed is None else computed.unsqueeze(2)
    return StockForward(model, stock, kept, plan.prepared.snapshot, plan.first_token_only, visible)


def _is_trained(model: nn.Module, arguments: Mapping[str, Any]) -> bool:
    """Whether anything that the outputs depend on requires gradients."""
    embeds = arguments.get("inputs_embeds")
    return any(p.requires_grad for p in model.parameters()) or (isinstance(embeds, Tensor) and embeds.requires_grad)
