"""bertfast against its peers on a CPU, precision by precision, all in one interleaved run.

    python benchmarks/compare_cpu.py [--peers onnxruntime,openvino] [--rows ragged,1x32] [--precisions float32,int8]
                                     [--threads 1] [--rounds 7] [--model base] [--cache FOLDER] [--json FILE]

BERT-base for sequence classification with seeded weights, the same in all; a peer that is not installed is
left out, and the output names it (pip install '.[compare]' brings all). docs/benchmarking-cpu.md says how each is run.
Rows:

padded-512         two short texts padded to 512
ragged             16 texts of 15 to 105 tokens (log-normal), padded to the longest
8x128 1x128 1x32   full batches
"""

from __future__ import annotations

import argparse

from cpu.accuracy import Outputs
from cpu.candidates import CANDIDATES, OURS, PRECISIONS, chosen, versions
from cpu.features import cpu_features
from cpu.measure import Result, measure, reference
from cpu.models import SIZES
from cpu.options import add_common, at_least, folder_for, names_of
from cpu.peers.setup import Setup
from cpu.rows import rows
from cpu.table import HEADER, lines, summary
from timing import environment

from bertfast.tables import write_json

ROWS = {row.name: row for row in rows() if not row.raw_model}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    peers = [name for name in CANDIDATES if name != OURS]
    parser.add_argument("--peers", type=names_of(peers), default=peers, help=f"of {', '.join(peers)}; default: all")
    parser.add_argument("--rows", type=names_of(list(ROWS)), default=list(ROWS), help="default: all")
    parser.add_argument("--rounds", type=at_least(2), default=7)
    parser.add_argument("--model", choices=list(SIZES), default="base", help="sizes; default: base, BERT-base's")
    add_common(parser, PRECISIONS)
    return parser.parse_args()


def main() -> None:
    """Measure, print a table, write JSON."""
    arguments = _arguments()
    env = {**environment(), **versions(), "cpu_features": " ".join(cpu_features()), "threads": arguments.threads}
    print(
        f"Model {arguments.model}, median of {arguments.rounds} interleaved rounds; errors against float32 transformers"
    )
    print(", ".join(f"{key} {value}" for key, value in env.items()))
    workload = {"model": arguments.model, "rounds": arguments.rounds}
    results: list[Result] = []
    with folder_for(arguments.model, arguments.cache) as folder:
        expected: dict[str, Outputs] = {}
        for precision in arguments.precisions:
            setup = Setup(arguments.model, precision, arguments.threads, folder)
            results += _compare(arguments, setup, expected)
            # As far as it went: a whole run takes long.
            if arguments.json:
                found = [result.as_json() for result in results]
                write_json(arguments.json, {"environment": env, **workload, "results": found})
    print("\n".join(["", *summary(results)]))


def _compare(arguments: argparse.Namespace, setup: Setup, expected: dict[str, Outputs]) -> list[Result]:
    names, left_out = chosen([OURS, *arguments.peers], setup.precision)
    print(f"\n{setup.precision}\n" + "".join(f"  without {name}: {reason}\n" for name, reason in left_out.items()))
    for name in names:
        CANDIDATES[name].prepare(setup)
    print(HEADER, flush=True)
    results = []
    for row in (ROWS[name] for name in arguments.rows):
        if row.name not in expected:
            expected[row.name] = reference(_float32(setup), row)
        results.append(measure(names, setup, row, arguments.rounds, expected[row.name], left_out))
        print("\n".join(_with_failures(results[-1], left_out)), flush=True)
    return results


def _float32(setup: Setup) -> Setup:
    return Setup(setup.model, "float32", setup.threads, setup.folder)


def _with_failures(result: Result, known: dict[str, str]) -> list[str]:
    failed = [f"  without {name}: {reason}" for name, reason in result.left_out.items() if name not in known]
    return [*lines(result), *failed]


if __name__ == "__main__":
    main()
