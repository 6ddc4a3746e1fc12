"""One fast forward: from checked inputs to outputs in the padded layout."""

from __future__ import annotations

from torch import Tensor

from bertfast.deferred import DeferredChecks, check_earlier_counts, check_earlier_ids
from bertfast.encoder import PackedTokens, embed, run_all_layers, run_layers
from bertfast.ops.unpad_input import PackedCounts
from bertfast.plan import Plan


class Forward:
    """The outputs of a planned call, to be run without autograd."""

    def __init__(self, plan: Plan, checks: DeferredChecks, replays: bool) -> None:
        """checks: get what nobody waits for. replays: small batches may be replayed from captured graphs."""
        self._plan, self._checks, self._replays = plan, checks, replays
        self._weights, self._batch = plan.prepared.weights, plan.layout.batch

    def __call__(self) -> tuple[Tensor, ...]:
        """The last hidden state, then the earlier ones if wanted: each [B, S, H], or [B, 1, H] of first tokens."""
        x, out_of_range = embed(self._weights, self._tokens())
        self._defer_checks(out_of_range)
        batch = self._batch
        if self._plan.wants_states:
            *earlier, last = (batch.scatter(x) for x in run_all_layers(self._weights, x, batch.sequences))
            return (last, *earlier)
        rows = self._run_layers(x)
        return (batch.scatter_first(rows) if self._plan.first_token_only else batch.scatter(rows),)

    def _tokens(self) -> PackedTokens:
        """The ids by position, on the device of the weights. Given embeddings are a table, looked up by position."""
        inputs, device, table = self._plan.inputs, self._weights.device, self._weights.embeddings.word
        if inputs.inputs_embeds is not None:
            embeds = inputs.inputs_embeds.detach().reshape(-1, self._weights.spec.hidden_size)
            table = embeds.to(device, non_blocking=True)

        def flat(ids: Tensor | None) -> Tensor | None:
            return None if ids is None else ids.reshape(-1).to(device, non_blocking=True)

        return PackedTokens(
            flat(inputs.input_ids),
            flat(inputs.token_type_ids),
            flat(inputs.position_ids),
            table,
            self._batch.rows(),
            self._batch.padded_len,
            self._plan.layout.ids_unchecked,
        )

    def _defer_checks(self, out_of_range: Tensor) -> None:
        layout, weights = self._plan.layout, self._weights
        if self._plan.captured:
            return
        if layout.unread_counts is not None:
            self._checks.add(
                weights.backend,
                layout.unread_counts,
                lambda counts: check_earlier_counts(PackedCounts(*counts), weights.spec),
            )
        elif layout.ids_unchecked:
            self._checks.add(weights.backend, out_of_range, lambda bits: check_earlier_ids(bits[0], weights.spec))

    def _run_layers(self, x: Tensor) -> Tensor:
        plan, sequences, runner = self._plan, self._batch.sequences, self._plan.prepared.runner
        if runner is None or plan.captured or not runner.takes(len(x)):
            return run_layers(self._weights, x, sequences, plan.first_token_only)
        return runner.run(x, sequences, plan.first_token_only, self._replays)
