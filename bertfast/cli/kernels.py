"""What the CUDA kernels need of each architecture, and how fast they could be at best. No GPU is needed.

The times are computed from data sheets: what the most wanted resource of a GPU needs, were it never idle. The registers
are those of the kernels that are built here, as the compiler reports them.

Exit code 1: the kernels are not built here, so only the times are printed; the last line says how to build them.
"""

from __future__ import annotations

import argparse
import json
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bertfast.cli.arguments import file_path
from bertfast.cli.errors import UsageError
from bertfast.cli.outputs import check_outputs, check_plotting, told_of
from bertfast.roofline.bounds import bound
from bertfast.roofline.cases import cases
from bertfast.roofline.machines import GPUS
from bertfast.tables import table

_FORMATS = (".svg", ".png", ".pdf")
_BYTES = ("static_smem_bytes", "stack_bytes", "spill_bytes")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--kernel", default="", metavar="TEXT", help="only kernels with this in their names")
    add("--architecture", metavar="NAME", help="only this one of those that were built: sm_90")
    add("--plot", type=file_path, metavar="FILE", help=f"draw the roofline ({', '.join(_FORMATS)}); needs matplotlib")
    add("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    if arguments.plot is not None:
        _check_plot(arguments.plot)
    reason, rows = _built()
    if reason is None:
        wanted = _chosen(rows, arguments.kernel, arguments.architecture)
    elif not _bounds(arguments.kernel):
        raise _unknown(arguments.kernel)
    else:
        wanted = []
    left_out = None if arguments.plot is None else _plot(arguments.plot)
    if arguments.json:
        print(json.dumps({"why_not": reason, "kernels": wanted, "roofline": _bounds(arguments.kernel)}, indent=1))
        return 0 if reason is None else 1
    print(_roofline(arguments.kernel))
    if left_out is not None:
        print(f"\n{arguments.plot}: written; not drawn, as they compute nothing: {', '.join(left_out)}")
    if reason is not None:
        print(f"\nno table of registers: bertfast._C is not loaded: {reason}")
        return 1
    print(
        f"\nwhat a thread (registers, stack, spills) and a block (static shared memory) needs\n\n{_resources(wanted)}"
    )
    return 0


def _built() -> tuple[str | None, list[dict[str, Any]]]:
    """Why the kernels are not here; or what is told of each."""
    from bertfast import extension
    from bertfast.environment.privacy import public

    with warnings.catch_warnings():
        # The reason is printed.
        warnings.simplefilter("ignore", RuntimeWarning)
        reason = extension.why_not()
    return (None, extension.kernels()) if reason is None else (public(reason), [])


def _chosen(rows: Sequence[dict[str, Any]], name: str, architecture: str | None) -> list[dict[str, Any]]:
    architectures = sorted({row["architecture"] for row in rows})
    if architecture is not None and architecture not in architectures:
        raise UsageError(f"--architecture {architecture}: expected one that was built: {', '.join(architectures)}")
    chosen = [row for row in rows if name in row["kernel"] and architecture in (None, row["architecture"])]
    if not chosen:
        raise _unknown(name)
    return sorted(chosen, key=lambda row: (row["kernel"], row["architecture"]))


def _unknown(name: str) -> UsageError:
    return UsageError(f"--kernel {name}: no kernel has this in its name; leave it out to see all")


def _resources(rows: Sequence[Mapping[str, Any]]) -> str:
    """A line for each kernel, with its registers on each architecture; of all else, the most on any."""
    architectures = sorted({row["architecture"] for row in rows}, key=lambda name: int(re.sub(r"\D", "", name)))
    kernels: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        kernels.setdefault(_short(row["kernel"]), {})[row["architecture"]] = row
    lines = []
    for name, by_architecture in sorted(kernels.items()):
        registers = [str(by_architecture[a]["registers"]) if a in by_architecture else "-" for a in architectures]
        most = [str(max(row[column] for row in by_architecture.values())) for column in _BYTES]
        lines.append((name, *registers, *most))
    header = ("kernel", *(f"{name} registers" for name in architectures), *(f"{c[: -len('_bytes')]} B" for c in _BYTES))
    return table(header, lines)


def _short(kernel: str) -> str:
    """Without its arguments and what is the same for all: ``bias_gelu_kernel<float, (Activation)0, 4>``."""
    return re.sub(r"\([^()]*\)$", "", kernel).removeprefix("void ").replace("bertfast::", "")


def _bounds(name: str) -> list[dict[str, Any]]:
    return [
        {"kernel": case.name, "shape": str(case.shape), "gpu": gpu.name, "time_us": b.time_us, "limit": b.limit}
        for case in cases()
        if name in f"{case.op}_kernel {case.name}"
        for gpu in GPUS
        for b in [bound(case.work, gpu)]
    ]


def _roofline(name: str) -> str:
    """A line for each kernel at BERT-base, a column for each GPU."""
    lines: dict[tuple[str, str], list[str]] = {}
    for entry in _bounds(name):
        cells = lines.setdefault((entry["kernel"], entry["shape"]), [entry["kernel"], entry["shape"]])
        cells.append(f"{entry['time_us']:.3g}, {entry['limit']}")
    header = ("at best, us, and what limits it", "BERT-base", *(gpu.name for gpu in GPUS))
    return table(header, list(lines.values()))


def _check_plot(path: Path) -> None:
    if path.suffix not in _FORMATS:
        raise UsageError(f"--plot {path}: expected a name that ends in {', '.join(_FORMATS)}")
    check_plotting("--plot")
    check_outputs({"--plot": path})


def _plot(path: Path) -> list[str]:
    from bertfast.roofline.figure import draw

    with told_of("--plot", path):
        return draw(cases(), GPUS, path)
