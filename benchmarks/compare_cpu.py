"""bertfast against its peers on a CPU, precision by precision, with one thread and with two, in interleaved runs.

    python benchmarks/compare_cpu.py [--peers onnxruntime,openvino] [--rows ragged,1x32] [--precisions float32,int8]
                                     [--threads 1,2] [--rounds 7] [--model bert-base] [--cache FOLDER] [--json FILE]

BERT-base for sequence classification with seeded weights, the same in all; a peer that is not installed is
left out, and the output names it (pip install '.[compare]' brings all). docs/benchmarking-cpu.md says how each is run.
Rows:

padded-512         two short texts padded to 512
ragged             16 texts of 15 to 105 tokens (log-normal), padded to the longest
8x128 1x128 1x32   full batches
"""

from __future__ import annotations

import argparse
import itertools

from cpu.options import add_common
from cpu.rows import rows, workload
from cpu.table import HEADER, lines, summary

from bertfast.bench.accuracy import Outputs
from bertfast.bench.candidates import CANDIDATES, PEERS, PRECISIONS, chosen, versions
from bertfast.bench.exports import folder_for
from bertfast.bench.measure import Plan, Result, measure, reference
from bertfast.bench.models import SIZES
from bertfast.bench.options import at_least, counts, names_of
from bertfast.bench.setup import Setup
from bertfast.environment.describe import summary as environment
from bertfast.environment.record import write_json

ROWS = {row.name: row for row in rows() if not row.raw_model}
_OURS = [name for name, candidate in CANDIDATES.items() if candidate.is_ours]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=names_of(PEERS), default=PEERS, help=f"of {', '.join(PEERS)}; default: all")
    parser.add_argument("--rows", type=names_of(list(ROWS)), default=list(ROWS), help="default: all")
    parser.add_argument("--rounds", type=at_least(2), default=7)
    parser.add_argument("--model", choices=list(SIZES), default="bert-base", help="default: bert-base")
    parser.add_argument("--threads", type=counts, default=[1, 2], help="several, one after the other; default: 1,2")
    add_common(parser, PRECISIONS)
    return parser.parse_args()


def main() -> None:
    """Measure, print a table, write JSON."""
    arguments = _arguments()
    env = {**environment(), **versions(), "threads": arguments.threads}
    print(
        f"Model {arguments.model}, median of {arguments.rounds} interleaved rounds; errors against float32 transformers"
    )
    print(", ".join(f"{key} {value}" for key, value in env.items()))
    workload = {"model": arguments.model, "rounds": arguments.rounds}
    results: list[Result] = []
    with folder_for(arguments.model, arguments.cache) as folder:
        expected: dict[str, Outputs] = {}
        for threads, precision in itertools.product(arguments.threads, arguments.precisions):
            results += _compare(arguments, Setup(arguments.model, precision, threads, folder), expected)
            # As far as it went: a whole run takes long.
            if arguments.json:
                found = [result.as_json() for result in results]
                write_json(arguments.json, {"environment": env, **workload, "results": found})
    print("\n".join(["", *summary(results)]))


def _compare(arguments: argparse.Namespace, setup: Setup, expected: dict[str, Outputs]) -> list[Result]:
    names, left_out = chosen([*_OURS, *arguments.peers], setup)
    print(f"\n{setup.precision}, threads: {setup.threads}")
    print("".join(f"  without {name}: {reason}\n" for name, reason in left_out.items()), end="")
    for name in names:
        CANDIDATES[name].prepare(setup)
    print(HEADER, flush=True)
    results = []
    for row in (ROWS[name] for name in arguments.rows):
        if row.name not in expected:
            expected[row.name] = reference(setup, workload(row))
        plan = Plan(arguments.rounds)
        results.append(measure(names, setup, workload(row), plan, expected[row.name], left_out))
        print("\n".join(_with_failures(results[-1], left_out)), flush=True)
    return results


def _with_failures(result: Result, known: dict[str, str]) -> list[str]:
    failed = [f"  without {name}: {reason}" for name, reason in result.left_out.items() if name not in known]
    return [*lines(result), *failed]


if __name__ == "__main__":
    main()
