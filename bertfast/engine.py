"""The engine of one encoder: checks a call, keeps the prepared weights, runs the packed encoder or says why not."""

from __future__ import annotations

import logging
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

from bertfast import compat, guard
from bertfast.arguments import argument_reason
from bertfast.autograd import differentiable
from bertfast.backends import resolve_precision
from bertfast.deferred import DeferredChecks
from bertfast.errors import FallbackError, UnsupportedModelError
from bertfast.families import Refused
from bertfast.forward import Forward
from bertfast.graphs import Bucket, GraphCache
from bertfast.options import Options, Reads
from bertfast.padding import Layout
from bertfast.plan import plan_call, stock_forward
from bertfast.prepared import Prepared, prepare
from bertfast.released import check_not_released, is_released, release
from bertfast.reporting import FAST, REFUSED, STOCK, Call, count, logger
from bertfast.weights import EncoderWeights

_ATTRIBUTE = "_bertfast_engine"

#: Held while engines, classes or forwards are exchanged, so that nobody sees or undoes half of it.
CHANGING = threading.RLock()

_ENGINES: weakref.WeakSet[Engine] = weakref.WeakSet()

#: Set while `bertfast.explain` asks which path a call would take.
PROBING: ContextVar[bool] = ContextVar("bertfast_probing", default=False)


class Probed(BaseException):
    """Ends a call that was only asked about, when its first encoder has decided."""

    def __init__(self, engine: Engine, call: Call) -> None:
        super().__init__(call)
        self.engine, self.call = engine, call


class Engine:
    """Runs one ``BertModel``. Safe to call from several threads.

    A model owns its engine, so that both are collected together. Copies and pickles of a model leave the engine behind
    and take along the options that somebody asked for; without any, a pickle needs no bertfast to be loaded.
    """

    def __init__(self, asked: Options | None = None, owner: nn.Module | None = None) -> None:
        self.options = asked or Options()
        self.counts: Counter[str] = Counter()
        self.last: Call | None = None
        self._asked = asked
        self._prepared: Prepared | None = None
        self._lock = threading.RLock()
        self._deferred = DeferredChecks()
        self._said_padding = self._said_precision = False
        self._owner: weakref.ref[nn.Module] | None = None
        if owner is not None:
            self._owner = weakref.ref(owner)
            with CHANGING:
                _ENGINES.add(self)

    @staticmethod
    def of(model: nn.Module) -> Engine:
        """The engine of a ``BertModel``, made when it is first asked for."""
        # Every call comes by here.
        engine: Engine | None = model.__dict__.get(_ATTRIBUTE)
        if engine is not None and engine._owner is not None and engine._owner() is model:
            return engine
        with CHANGING:
            found = Engine.held(model)
            if found is None or found._owner is None or found._owner() is not model:
                # A copy of a model has modules of its own: a pickle, a shallow copy, a replica of DataParallel.
                found = Engine.attach(model, None if found is None else found._asked)
            return found

    @staticmethod
    def check_options(model: nn.Module, options: Options) -> None:
        """Raise what `attach` would: ReleasedWeightsError, PrecisionError, UnsupportedModelError."""
        check_not_released(model)
        choice = resolve_precision(options.precision, next(model.parameters()))
        if choice.reduced is not None and not options.keep_original:
            try:
                guard.inspect_model(model)
            except Refused as refusal:
                raise UnsupportedModelError(
                    f"{type(model).__name__} runs stock transformers ({refusal}), which needs the weights that "
                    "keep_original=False gives up"
                ) from refusal

    @staticmethod
    def attach(model: nn.Module, asked: Options | None) -> Engine:
        """Give a ``BertModel`` a new engine; with ``keep_original=False``, give up what it has copied."""
        engine = model.__dict__[_ATTRIBUTE] = Engine(asked, model)
        if not engine.options.keep_original:
            prepared = engine._prepare(model)
            if prepared.weights.copied:
                engine._prepared = release(model, prepared)
        return engine

    @staticmethod
    def held(owner: Any) -> Engine | None:
        """The engine that ``owner`` has, if any."""
        engine: Engine | None = owner.__dict__.get(_ATTRIBUTE)
        return engine

    @staticmethod
    def put(model: nn.Module, engine: Engine | None) -> None:
        """Give a ``BertModel`` an engine that it had before, or none."""
        if engine is None:
            Engine.detach(model)
        else:
            model.__dict__[_ATTRIBUTE] = engine

    @staticmethod
    def detach(model: nn.Module) -> None:
        """Take a model's engine away, if it has one."""
        model.__dict__.pop(_ATTRIBUTE, None)

    @staticmethod
    def detach_all_but(kept: type[nn.Module]) -> None:
        """Take the engines of all models away that are not of this class."""
        with CHANGING:
            owners = [engine._owner() for engine in _ENGINES if engine._owner is not None]
            for owner in owners:
                if owner is not None and not isinstance(owner, kept):
                    Engine.detach(owner)

    def __deepcopy__(self, memo: dict[int, Any]) -> Engine | None:
        return None if self._asked is None else Engine(self._asked)

    def __reduce__(self) -> tuple[type, tuple[Options, ...]]:
        # None, where no options have to arrive: the reader of the pickle may have no bertfast.
        return (type(None), ()) if self._asked is None else (Engine, (self._asked,))

    @property
    def weights(self) -> EncoderWeights | None:
        """The prepared weights, or None before the first fast call."""
        return None if self._prepared is None else self._prepared.weights

    @property
    def buffer_bytes(self) -> int:
        """Memory that small batches are copied to, for graphs to read; weights are read where they are."""
        runner = None if self._prepared is None else self._prepared.runner
        return 0 if runner is None else runner.num_bytes

    @property
    def graphs(self) -> GraphCache | None:
        """The captured graphs of small batches; None before the first fast call, and where none are made."""
        runner = None if self._prepared is None else self._prepared.runner
        return None if runner is None else runner.graphs

    def capture(self, buckets: Iterable[Bucket], first_token_only: bool) -> int:
        """Capture the launches of small batches before they are met; returns how many graphs were made."""
        runner = None if self._prepared is None else self._prepared.runner
        if runner is None or not self.options.cuda_graphs:
            return 0
        made = 0
        for bucket in buckets:
            if runner.holds(bucket, first_token_only):
                continue
            if len(runner.graphs) == runner.graphs.limits.max_graphs:
                kept = len(runner.graphs)
                logger.warning("bertfast: %d CUDA graphs are kept, no more; other batches are captured when met", kept)
                break
            made += runner.capture(bucket, first_token_only)
        return made

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
        `check_inputs`, FallbackError if ``on_fallback="raise"``, and what `DeferredChecks` found of an earlier call.
        """
        self._check_earlier_calls()
        try:
            plan = plan_call(self.admit(model, arguments), model, arguments, reads, self.options)
        except Refused as refusal:
            self.fall_back(model, str(refusal))
            return NotImplemented
        batch = plan.layout.batch
        positions = batch.batch_size * batch.padded_len
        call = Call(FAST, None, batch.num_keys, batch.num_tokens, positions, plan.first_token_only)
        if PROBING.get():
            raise Probed(self, call)
        self._say_padding(plan.layout)
        run = Forward(plan, self._deferred, self.options.cuda_graphs)
        if torch.is_grad_enabled():
            outputs = differentiable(run, stock_forward(plan, model, stock, arguments))
        else:
            outputs = run()
        self._record(call)
        pooled = None if model.pooler is None else model.pooler(outputs[0])
        # The last hidden state is one object, as stock returns it.
        states = (*outputs[1:], outputs[0]) if plan.wants_states else None
        as_tuple = compat.wants_tuple(model.config, arguments)
        return compat.model_output(outputs[0], pooled, states, as_tuple)

    def _check_earlier_calls(self) -> None:
        """Raise what earlier calls were given and could not be told at once; a question is no call."""
        prepared = self._prepared
        if prepared is not None and not PROBING.get() and not prepared.weights.backend.is_capturing():
            self._deferred.run()

    def fall_back(self, model: nn.Module, reason: str) -> None:
        """Count a call that stock transformers will run, and say so once per reason; raises if it may not."""
        refused = is_released(model) or self.options.on_fallback == "raise"
        call = Call(REFUSED if refused else STOCK, reason)
        if PROBING.get():
            raise Probed(self, call)
        new = self._record(call)
        check_not_released(model, f"run stock transformers ({reason})")
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

    def admit(self, model: nn.Module, arguments: Mapping[str, Any]) -> Prepared:
        """The prepared weights if this call may take the fast path. Raises Refused with the reason if not."""
        reason = (
            ("training mode" if model.training else None) or guard.ambient_reason() or argument_reason(model, arguments)
        )
        if reason is not None:
            raise Refused(reason)
        prepared = self._prepared
        if prepared is None or not prepared.holds():
            prepared = self._prepare(model)
        if prepared.snapshot.training():
            raise Refused("training mode of a submodule")
        if prepared.snapshot.marks_inputs and torch.is_grad_enabled():
            raise Refused("a hook on the embeddings, of gradient checkpointing, with gradients")
        embeds = arguments.get("inputs_embeds")
        if isinstance(embeds, Tensor) and embeds.dtype != prepared.weights.dtype:
            raise Refused(f"inputs_embeds of {embeds.dtype}")
        return prepared

    def _prepare(self, model: nn.Module) -> Prepared:
        with self._lock:
            check_not_released(model)
            self._prepared = prepare(model, self.options.precision)
            if not self._said_precision:
                self._said_precision = True
                if self._prepared.lacks is not None:
                    logger.warning(
                        "bertfast: %s computes in float32, not in %s: %s",
                        type(model).__name__,
                        self.options.precision,
                        self._prepared.lacks,
                    )
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
