"""What `bertfast bench` does once its arguments are parsed."""

from __future__ import annotations

import argparse
import contextlib
from typing import Any

from bertfast.bench.exports import folder_for
from bertfast.bench.figures import draw_all
from bertfast.bench.measure import Plan
from bertfast.bench.progress import Progress
from bertfast.bench.session import Comparison, Section, run
from bertfast.bench.table import LEGEND, has_ours, heading, lines
from bertfast.bench.timing import CandidateError
from bertfast.cli.bench_choices import candidates, config, precisions, threads, workloads
from bertfast.cli.errors import UsageError
from bertfast.cli.loading import find_device, quiet
from bertfast.cli.outputs import check_outputs, check_plotting, told_of
from bertfast.environment.describe import describe, summary
from bertfast.environment.privacy import public_name
from bertfast.environment.record import write_json
from bertfast.roofline.cases import cases
from bertfast.roofline.figure import draw as draw_roofline
from bertfast.roofline.machines import GPUS
from bertfast.tables import counted


def bench(arguments: argparse.Namespace) -> int:
    """Exit code 0; 1 if bertfast could not run a workload."""
    device = find_device(arguments.device)
    with quiet():
        model_config = config(arguments.model)
        wanted, names = precisions(arguments.precision, device), candidates(arguments.against)
        work, plan = workloads(arguments, model_config), Plan(arguments.rounds, arguments.warmup)
        _check_outputs(arguments)
        with folder_for(arguments.model, arguments.cache) as folder:
            comparison = Comparison(
                arguments.model, str(device), wanted, threads(arguments.threads), names, work, plan, folder
            )
            environment = describe() if arguments.json else {}
            sections = _measured(comparison, arguments, environment)
    try:
        _plot(arguments, sections)
    finally:
        _store(arguments, environment, sections)
    return 0 if has_ours(sections) else 1


def _check_outputs(arguments: argparse.Namespace) -> None:
    if arguments.plot:
        check_plotting("--plot")
    check_outputs({"--json": arguments.json}, {"--plot": arguments.plot, "--cache": arguments.cache})


def _measured(comparison: Comparison, arguments: argparse.Namespace, environment: dict[str, Any]) -> list[Section]:
    label, plan = public_name(arguments.model), comparison.plan
    print(f"{label}, {plan.rounds} rounds after {counted(plan.warmup, 'call')} to warm up")
    print(", ".join(f"{key} {value}" for key, value in summary().items()))
    sections: list[Section] = []
    with Progress(comparison.num_calls()) as progress:
        try:
            for section, result in run(comparison, progress.step):
                if result is None:
                    sections.append(section)
                    progress.doing(section.setup.precision)
                text = heading(section) if result is None else lines(result, section.left_out)
                progress.say("\n".join(text))
                # As far as it went: a whole run may take long. What fails is tried again, and told, in the end.
                with contextlib.suppress(UsageError):
                    _store(arguments, environment, sections)
        except CandidateError as error:
            raise UsageError(f"{label}: {error}") from error
    print(f"\n{LEGEND}")
    return sections


def _store(arguments: argparse.Namespace, environment: dict[str, Any], sections: list[Section]) -> None:
    if arguments.json:
        with told_of("--json", arguments.json):
            write_json(arguments.json, {"environment": environment, **_record(arguments, sections)})


def _record(arguments: argparse.Namespace, sections: list[Section]) -> dict[str, Any]:
    """What is stored beside the environment, and what figures are drawn from."""
    return {
        "model": public_name(arguments.model),
        "device": arguments.device,
        "rounds": arguments.rounds,
        "warmup": arguments.warmup,
        "left_out": {f"{s.setup.precision}, threads: {s.setup.threads}": s.left_out for s in sections},
        "results": [result.as_json() for section in sections for result in section.results],
    }


def _plot(arguments: argparse.Namespace, sections: list[Section]) -> None:
    if not arguments.plot:
        return
    with told_of("--plot", arguments.plot, "a folder"):
        written, missing = draw_all(_record(arguments, sections), arguments.plot)
        if arguments.device.startswith("cuda"):
            written.append(arguments.plot / "roofline.svg")
            draw_roofline(cases(), GPUS, written[-1])
    if not arguments.device.startswith("cuda"):
        missing.append("roofline: it is of the CUDA kernels: bertfast kernels --plot FILE")
    for path in written:
        print(f"wrote {path}")
    for reason in missing:
        print(f"no figure of {reason}")
