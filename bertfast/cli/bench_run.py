"""What `bertfast bench` does once its arguments are parsed."""

from __future__ import annotations

import argparse
import importlib.util
import shlex
import sys
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
from bertfast.environment.describe import describe, summary
from bertfast.environment.privacy import public
from bertfast.environment.record import write_json


def bench(arguments: argparse.Namespace) -> int:
    """Exit code 0; 1 if bertfast could not run a workload."""
    if arguments.plot and importlib.util.find_spec("matplotlib") is None:
        raise UsageError("--plot: matplotlib is not installed; pip install 'bertfast[plot]'")
    where, model_config = str(find_device(arguments.device)), config(arguments.model)
    with quiet(), folder_for(arguments.model, arguments.cache) as folder:
        comparison = Comparison(
            arguments.model,
            where,
            precisions(arguments.precision, where),
            threads(arguments.threads),
            candidates(arguments.against),
            workloads(arguments, model_config),
            Plan(arguments.rounds, arguments.warmup),
            folder,
        )
        sections = _measured(comparison, arguments)
    _plot(arguments, sections)
    return 0 if has_ours(sections) else 1


def _measured(comparison: Comparison, arguments: argparse.Namespace) -> list[Section]:
    print(f"{arguments.model}, {comparison.plan.rounds} rounds after {comparison.plan.warmup} calls to warm up")
    print(", ".join(f"{key} {value}" for key, value in summary().items()))
    environment = describe() if arguments.json else {}
    sections: list[Section] = []
    with Progress(comparison.num_calls()) as progress:
        try:
            for section, result in run(comparison, progress.step):
                if result is None:
                    sections.append(section)
                    progress.doing(section.setup.precision)
                text = heading(section) if result is None else lines(result, section.left_out)
                progress.say("\n".join(text))
                if arguments.json:  # as far as it went: a whole run may take long
                    write_json(arguments.json, {"environment": environment, **_record(arguments, sections)})
        except CandidateError as error:
            raise UsageError(f"{arguments.model}: {error}") from error
    print(f"\n{LEGEND}")
    return sections


def _record(arguments: argparse.Namespace, sections: list[Section]) -> dict[str, Any]:
    """What is stored beside the environment, and what figures are drawn from."""
    return {
        "command": public(shlex.join(["bertfast", *sys.argv[1:]])),
        "model": public(arguments.model),
        "device": arguments.device,
        "rounds": arguments.rounds,
        "warmup": arguments.warmup,
        "left_out": {f"{s.setup.precision}, threads: {s.setup.threads}": s.left_out for s in sections},
        "results": [result.as_json() for section in sections for result in section.results],
    }


def _plot(arguments: argparse.Namespace, sections: list[Section]) -> None:
    if not arguments.plot:
        return
    written, missing = draw_all(_record(arguments, sections), arguments.plot)
    for path in written:
        print(f"wrote {path}")
    for reason in missing:
        print(f"no figure of {reason}")
