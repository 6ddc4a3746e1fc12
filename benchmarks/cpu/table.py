"""The comparison as text."""

from __future__ import annotations

from bertfast.bench.candidates import OURS
from bertfast.bench.measure import Result

HEADER = (
    f"{'row':11}{'tokens':>10}  {'candidate':18}{'CPU ms':>9}  {'quartiles':18}{'wall ms':>9}{'x bertfast':>11}"
    f"{'logits':>9}{'pooled':>9}{'cosine':>10}{'peak MiB':>9}{'held MiB':>9}"
)


def lines(result: Result) -> list[str]:
    """A line for each candidate, the fastest first."""
    by_time = sorted(result.timings, key=lambda name: result.timings[name].cpu_ms)
    rows = [_line(result, name) for name in by_time]
    if result.ratio is not None:
        rows.append(f"{'':23}best peer / bertfast: {result.ratio:.2f}x of CPU time ({result.best_peer})")
    return rows


def _line(result: Result, name: str) -> str:
    timing, accuracy = result.timings[name], result.accuracy[name]
    ours = result.timings.get(OURS)
    times = f"{timing.cpu_ms / ours.cpu_ms:10.2f}x" if ours else f"{'-':>11}"
    return (
        f"{result.row:11}{f'{result.real_tokens}/{result.padded_slots}':>10}  {name:18}{timing.cpu_ms:9.1f}"
        f"  {f'[{timing.cpu_ms_q1:.1f}, {timing.cpu_ms_q3:.1f}]':18}{timing.wall_ms:9.1f}{times}"
        f"{accuracy.logits_error or 0:9.1e}{accuracy.pooled_error:9.1e}{accuracy.pooled_cosine:10.6f}"
        f"{timing.peak_rss_mib:9.0f}{timing.rss_mib:9.0f}"
    )


def summary(results: list[Result]) -> list[str]:
    """The ratio to the best peer, rows across, precisions and threads down."""
    names = list(dict.fromkeys(result.row for result in results))
    found = {(_title(result), result.row): result for result in results}
    text = [f"{'best peer / bertfast':21}" + "".join(f"{name:>29}" for name in names)]
    for title in dict.fromkeys(map(_title, results)):
        cells = (_cell(found.get((title, name))) for name in names)
        text.append(f"{title:21}" + "".join(f"{cell:>29}" for cell in cells))
    return text


def _title(result: Result) -> str:
    return f"{result.precision}, {result.threads} thr."


def _cell(result: Result | None) -> str:
    return "-" if result is None or result.ratio is None else f"{result.ratio:.2f}x {result.best_peer}"
