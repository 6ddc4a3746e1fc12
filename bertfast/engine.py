"""The engine of one encoder: checks a call, runs the packed encoder or says why not."""

from __future__ import annotations

import logging
import weakref
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bertfast import backends, compat, guard, health
from bertfast.arguments import argument_reason
from bertfast.autograd import differentiable
from bertfast.deferred import DeferredChecks
from bertfast.errors import BertfastError, FallbackError
from bertfast.families import Refused
from bertfast.faults import is_out_of_memory
from bertfast.forward import Forward
from bertfast.options import Options, Reads
from bertfast.padding import Layout, say_hidden
from bertfast.plan import Plan, plan_call, stock_forward
from bertfast.prepared import Prepared
from bertfast.preparing import Preparation
from bertfast.probing import decide, is_probing
from bertfast.released import check_not_released
from bertfast.released_parameter import holds_released
from bertfast.reporting import FAST, REFUSED, STOCK, Call, Said, count, logger


class Engine:
    """Runs one ``BertModel``. Safe to call from several threads.

    A model owns its engine, so that both are collected together. Copies and pickles of a model leave the engine behind
    and take along the options that somebody asked for; without any, a pickle needs no bertfast to be loaded.
    """

    def __init__(self, asked: Options | None = None, preparation: Preparation | None = None) -> None:
        """asked: None for the defaults. preparation: of another engine of the same model, to be shared."""
        self.options = asked or Options()
        self.asked = asked
        self.preparation = preparation or Preparation(self.options.precision, self.options.invariant)
        self.counts: Counter[str] = Counter()
        self.last: Call | None = None
        self.owner: weakref.ref[nn.Module] | None = None
        self._deferred = DeferredChecks()
        self._said = Said()
        self._said_padding = False

    def belongs_to(self, model: nn.Module) -> bool:
        """Whether it is the engine of this very model, not one that a copy has taken along."""
        return self.owner is not None and self.owner() is model

    def __deepcopy__(self, memo: dict[int, Any]) -> Engine | None:
        return None if self.asked is None else Engine(self.asked)

    def __reduce__(self) -> tuple[type, tuple[Options, ...]]:
        # None, where no options have to arrive: the reader of the pickle may have no bertfast.
        return (type(None), ()) if self.asked is None else (Engine, (self.asked,))

    def forward(
        self,
        model: Any,
        stock: Callable[..., Any],
        arguments: Mapping[str, Any],
        reads: Reads,
    ) -> Any:
        """The outputs of ``BertModel.forward`` for these named arguments, or NotImplemented if stock must run.

        reads: what the caller looks at; for FIRST_TOKEN, ``last_hidden_state`` is [B, 1, H]. Raises the errors of
        `check_inputs`, FallbackError if ``on_fallback="raise"``, what `DeferredChecks` found of an earlier call,
        OutOfMemoryError, and DeviceError, from then on at once.
        """
        self._check_health(model)
        plan = None
        try:
            self._check_earlier_calls()
            plan = self._plan(model, arguments, reads)
            if plan is None:
                return NotImplemented
            outputs = self._run(plan, model, stock, arguments)
        except BertfastError:
            raise
        except (RuntimeError, MemoryError) as error:
            explained = self._explained(error, model, plan)
            if explained is None:
                raise
            raise explained from error
        # The pooler has hooks, whose errors are their own.
        return self._finish(plan, model, outputs, arguments)

    def _plan(self, model: Any, arguments: Mapping[str, Any], reads: Reads) -> Plan | None:
        """None if stock must run."""
        try:
            return plan_call(self.admit(model, arguments), model, arguments, reads, self.options)
        except Refused as refusal:
            self.fall_back(model, str(refusal))
            return None

    def _run(
        self, plan: Plan, model: Any, stock: Callable[..., Any], arguments: Mapping[str, Any]
    ) -> tuple[Tensor, ...]:
        """As `Forward`, with gradients where they are enabled."""
        batch = plan.layout.batch
        positions = batch.batch_size * batch.padded_len
        call = Call(FAST, None, batch.num_keys, batch.num_tokens, positions, plan.first_token_only)
        decide(self, call)
        self._say_padding(plan.layout)
        run = Forward(plan, self._deferred, self.options.cuda_graphs)
        if torch.is_grad_enabled():
            outputs = differentiable(run, stock_forward(plan, model, stock, arguments))
        else:
            outputs = run()
        self._record(call)
        return outputs

    def _finish(self, plan: Plan, model: Any, outputs: tuple[Tensor, ...], arguments: Mapping[str, Any]) -> Any:
        """What ``BertModel.forward`` returns for the outputs of `Forward`."""
        pooled = None if model.pooler is None else model.pooler(outputs[0])
        # The last hidden state is one object, as stock returns it.
        states = (*outputs[1:], outputs[0]) if plan.wants_states else None
        as_tuple = compat.wants_tuple(model.config, arguments)
        return compat.model_output(outputs[0], pooled, states, as_tuple)

    def _check_health(self, model: nn.Module) -> None:
        """Raise DeviceError if the model's device has failed in an earlier call, of any model."""
        fault = health.fault_of(model)
        if fault is not None:
            call = Call(REFUSED, fault.reason)
            decide(self, call)
            self._record(call)
            raise fault.error()

    def _explained(self, error: BaseException, model: nn.Module, plan: Plan | None) -> BertfastError | None:
        """What to raise instead of an error that nobody has foreseen, or None."""
        weights, runner = self.preparation.weights, self.preparation.runner
        if is_out_of_memory(error):
            # Nothing here may need memory.
            health.free_locals(error)
            if runner is not None:
                runner.give_back()
            return health.out_of_memory(error, None if plan is None else plan.layout.batch)
        device = health.device_of(model)
        backend = weights.backend if weights is not None and weights.device == device else backends.find_backend(device)
        fault = health.find_fault(device, backend)
        return None if fault is None else fault.error()

    def _check_earlier_calls(self) -> None:
        """Raise what earlier calls were given and could not be told at once; a question is no call."""
        weights = self.preparation.weights
        if weights is not None and not is_probing() and not weights.backend.is_capturing():
            self._deferred.run()

    def fall_back(self, model: nn.Module, reason: str) -> None:
        """Count a call that stock transformers will run, and say so once per reason; raises if it may not."""
        # Stock's results depend on the batch.
        forbids = "on_fallback is 'raise'" if self.options.on_fallback == "raise" else None
        forbids = "invariant is True; leave that out where this is needed" if self.options.invariant else forbids
        refused = holds_released(model) or forbids is not None
        call = Call(REFUSED if refused else STOCK, reason)
        decide(self, call)
        self._record(call)
        check_not_released(model, f"run stock transformers ({reason})")
        if forbids is not None:
            raise FallbackError(f"{type(model).__name__} would run stock transformers ({reason}), and {forbids}")
        if self.options.on_fallback == "log" and self._said.is_new(reason):
            # Fine-tuning is no surprise; anything else the user will want to know.
            level = logging.INFO if reason.startswith("training") else logging.WARNING
            logger.log(level, "bertfast: %s runs stock transformers: %s", type(model).__name__, reason)

    def _record(self, call: Call) -> None:
        self.last = call
        count(call, self.counts)

    def admit(self, model: nn.Module, arguments: Mapping[str, Any]) -> Prepared:
        """The prepared weights if this call may take the fast path. Raises Refused with the reason if not."""
        reason = (
            ("training mode" if model.training else None) or guard.ambient_reason() or argument_reason(model, arguments)
        )
        if reason is not None:
            raise Refused(reason)
        prepared = self.preparation.of(model)
        if prepared.snapshot.training():
            raise Refused("training mode of a submodule")
        if prepared.snapshot.marks_inputs and torch.is_grad_enabled():
            raise Refused("a hook on the embeddings, of gradient checkpointing, with gradients")
        embeds = arguments.get("inputs_embeds")
        if isinstance(embeds, Tensor) and embeds.dtype != prepared.weights.dtype:
            raise Refused(f"inputs_embeds of {embeds.dtype}")
        return prepared

    def _say_padding(self, layout: Layout) -> None:
        """Say once what computing padding costs, where it was computed because somebody may see it."""
        if not self._said_padding and self.options.pad_outputs == "auto":
            self._said_padding = say_hidden(layout)
