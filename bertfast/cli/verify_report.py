"""What ``bertfast verify`` prints and writes. Neither holds a text, or a folder."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from bertfast.cli.verifying import Verification
from bertfast.environment.describe import describe, summary
from bertfast.environment.privacy import public
from bertfast.tables import counted, table
from bertfast.verification.comparison import Comparison
from bertfast.verification.differences import Difference
from bertfast.verification.outputs import POOLED
from bertfast.verification.verdict import ALL

_HEADER = ("output", "relative error", "max abs error", "least cosine", "mean cosine", "argmax", "argmax, decided")
_MOST_LINES = 10


def text(found: Verification) -> str:
    """The report for people."""
    lines = [_verdict(found), *_facts(found)]
    if found.comparison is not None:
        lines += ["", _overall(found.comparison), *_by_length(found.comparison)]
    return "\n".join([*lines, *_failures(found)])


def as_dict(found: Verification) -> dict[str, Any]:
    """The same and more, for JSON: null stands for what is no number."""
    content = {
        "passed": found.passed,
        "model": {"name": found.source.label, "class": found.source.class_name, "random_weights": found.random},
        "texts": {
            "source": found.texts.source,
            "count": len(found.texts.texts),
            "truncated": found.encoded.truncated,
            "max_length": found.encoded.max_length,
            "batch_size": found.batch_size,
        },
        "device": str(found.device),
        "dtype": found.dtype,
        "precision": found.precision,
        "limits": asdict(found.limits),
        "problems": found.problems,
        "over_limits": [asdict(excess) for excess in found.excesses],
        **({} if found.comparison is None else _compared(found)),
        "environment": describe(),
    }
    return dict(_told(content))


def _compared(found: Verification) -> dict[str, Any]:
    comparison = found.comparison
    assert comparison is not None
    return {
        "calls": comparison.calls,
        "explain": comparison.report.as_dict(),
        "outputs": {
            name: {"all": asdict(whole), **{key: asdict(part) for key, part in comparison.buckets[name].items()}}
            for name, whole in comparison.overall.items()
        },
    }


def _verdict(found: Verification) -> str:
    drawn = f", with {counted(len(found.random), 'weight')} drawn at RANDOM" if found.random else ""
    if found.passed:
        return f"bertfast verify: PASSED, every output is within the limits{drawn}"
    reasons = [*found.problems[:1], *(["outputs are over the limits"] if found.excesses else [])]
    return f"bertfast verify: FAILED, {'; '.join(reasons)}{drawn}"


def _facts(found: Verification) -> Iterator[str]:
    config, lengths = found.source.config, [len(entry["input_ids"]) for entry in found.encoded.inputs]
    layers, hidden = getattr(config, "num_hidden_layers", "?"), getattr(config, "hidden_size", "?")
    yield f"  model: {found.source.label} ({found.source.class_name}, {layers} layers, hidden size {hidden})"
    if found.random:
        more = " ..." if len(found.random) > 1 else ""
        lacking = f"{counted(len(found.random), 'weight')}, {found.random[0]}{more}"
        yield f"  RANDOM: its files lack {lacking}; equal in both, so what they give says nothing of your model"
    sizes = f"{min(lengths)} to {max(lengths)} tokens, {found.batch_size} a call"
    yield f"  texts: {len(lengths)} of {found.texts.source}, {sizes}"
    if found.encoded.truncated:
        longer = "text was" if found.encoded.truncated == 1 else "texts were"
        yield f"  TRUNCATED: {found.encoded.truncated} {longer} longer, and cut to {found.encoded.max_length} tokens"
    reference = f"stock transformers in float32 on {found.device.type}"
    asked = "" if found.precision is None else f", precision={found.precision!r}"
    yield f"  compared: weights in {found.dtype}{asked} on {found.device}, with {reference}; padding is left out"
    if found.comparison is not None:
        ran = [f"{counted(count, 'call')} {path}" for path, count in found.comparison.calls.items()]
        yield f"  ran: {', '.join(ran)}"
        yield from (f"    {public(line)}" for line in found.comparison.report.how())
    known = summary()
    yield f"  versions: bertfast {known['bertfast']}, torch {known['torch']}, transformers {known['transformers']}"
    yield f"  CPU: {known['cpu']}, {known['cpu_capability']}" + _gpu(found)
    limits = found.limits
    yield (
        f"  limits: relative error {limits.relative_error:g}, cosine of the {POOLED} {limits.cosine:g} "
        f"({limits.reason})"
    )


def _gpu(found: Verification) -> str:
    if found.device.type != "cuda":
        return ""
    import torch

    return f"; GPU: {torch.cuda.get_device_name(found.device)}"


def _overall(found: Comparison) -> str:
    classes = any(difference.agreement is not None for difference in found.overall.values())
    header = _HEADER if classes else _HEADER[:-2]
    return table(header, [_cells(name, difference)[: len(header)] for name, difference in found.overall.items()])


def _by_length(found: Comparison) -> Iterator[str]:
    """Relative errors and argmaxes, a column for each length; all else is in the JSON."""
    buckets = next(iter(found.buckets.values()))
    if len(buckets) < 2:
        return
    columns = [f"{name} ({difference.texts})" for name, difference in buckets.items()]
    errors = [[name, *(f"{d.relative_error:.2e}" for d in by.values())] for name, by in found.buckets.items()]
    yield "\n" + table(("relative error, by tokens (texts)", *columns), errors)
    chosen = {name: by for name, by in found.buckets.items() if found.overall[name].agreement is not None}
    if chosen:
        agreements = [[name, *(_share(d.agreement) for d in by.values())] for name, by in chosen.items()]
        yield "\n" + table(("argmax, by tokens (texts)", *columns), agreements)


def _cells(name: str, found: Difference) -> tuple[str, ...]:
    return (
        name,
        f"{found.relative_error:.2e}",
        f"{found.max_abs_error:.2e}",
        _share(found.cosine_least),
        _share(found.cosine_mean),
        _share(found.agreement),
        _share(found.decided_agreement),
    )


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.6f}"


def _failures(found: Verification) -> Iterator[str]:
    if not found.passed:
        yield ""
    yield from found.problems
    for excess in found.excesses[:_MOST_LINES]:
        which = "all texts" if excess.texts == ALL else f"texts of {excess.texts} tokens"
        yield (
            f"{excess.output}, {which}: {excess.measure} {excess.found:.3g}, limit {excess.limit:g}; "
            f"worst: text {excess.worst_text + 1}"
        )
    if len(found.excesses) > _MOST_LINES:
        yield f"and {len(found.excesses) - _MOST_LINES} more: --json FILE has all"


def _told(value: Any) -> Any:
    """What JSON has no number for becomes null; of paths, the last names are left."""
    if isinstance(value, dict):
        return {key: _told(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_told(entry) for entry in value]
    if isinstance(value, str):
        return public(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value
