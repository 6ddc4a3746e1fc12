"""A comparison as text: a line for each candidate, wall times first."""

from __future__ import annotations

from bertfast.bench.candidates import OURS
from bertfast.bench.measure import Result
from bertfast.bench.session import Section

HEADER = (
    f"{'workload':15}{'tokens':>12}  {'candidate':18}{'p50 ms':>9}{'p90 ms':>9}{'p99 ms':>9}{'tokens/s':>10}"
    f"{'speed':>8}{'CPU ms':>9}{'error':>9}{'cosine':>10}{'peak MiB':>9}"
)
LEGEND = (
    "Wall time of a batch; tokens/s counts real tokens; speed: stock transformers is 1.00x, where it takes part; CPU "
    "time of all threads; error and cosine of the pooled outputs against transformers in float32."
)


def heading(section: Section) -> list[str]:
    """What a section is, and who is not in it."""
    setup = section.setup
    title = f"{setup.precision} on {setup.device}, threads: {setup.threads}"
    return ["", title, *(f"  without {name}: {reason}" for name, reason in section.left_out.items()), HEADER]


def lines(result: Result, known: dict[str, str]) -> list[str]:
    """The fastest first; then who failed meanwhile. known: who was left out before."""
    by_time = sorted(result.timings, key=lambda name: -result.tokens_per_s[name])
    failed = {name: reason for name, reason in result.left_out.items() if name not in known}
    return [*(_line(result, name) for name in by_time), *(f"  without {n}: {why}" for n, why in failed.items())]


def _line(result: Result, name: str) -> str:
    timing, accuracy = result.timings[name], result.accuracy[name]
    stock = result.tokens_per_s.get("transformers")
    speed = f"{result.tokens_per_s[name] / stock:.2f}x" if stock else "-"
    tokens = f"{result.real_tokens}/{result.padded_slots}"
    times = f"{timing.wall_ms:9.2f}{timing.wall_ms_p90:9.2f}{timing.wall_ms_p99:9.2f}"
    return (
        f"{result.row:15}{tokens:>12}  {name:18}{times}{result.tokens_per_s[name]:10.0f}{speed:>8}"
        f"{timing.cpu_ms:9.2f}{accuracy.pooled_error:9.1e}{accuracy.pooled_cosine:10.6f}{timing.peak_rss_mib:9.0f}"
    )


def has_ours(sections: list[Section]) -> bool:
    """Whether bertfast has run every workload of the sections it takes part in, and any at all."""
    entered = [section for section in sections if OURS in section.names]
    return bool(entered) and all(OURS in result.timings for section in entered for result in section.results)
