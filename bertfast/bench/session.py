"""A whole comparison: every number of threads, precision and workload in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bertfast.bench.accuracy import Outputs
from bertfast.bench.candidates import CANDIDATES, chosen
from bertfast.bench.measure import Plan, Result, measure, reference
from bertfast.bench.setup import Setup
from bertfast.bench.timing import nothing, reason_of
from bertfast.bench.workloads import Workload


@dataclass(frozen=True)
class Comparison:
    """What is asked for. names: of candidates. folder: where files go that peers make of the model."""

    model: str
    device: str
    precisions: Sequence[str]
    threads: Sequence[int]
    names: Sequence[str]
    workloads: Sequence[Workload]
    plan: Plan
    folder: Path

    def sections(self) -> list[Section]:
        """One for each number of threads and precision, with those who can run in it."""
        found = []
        for threads in self.threads:
            for precision in self.precisions:
                setup = Setup(self.model, precision, threads, self.folder, self.device)
                found.append(Section(setup, *chosen(self.names, setup)))
        return found

    def num_calls(self) -> int:
        """Timed calls, if nobody fails."""
        calls = self.plan.rounds * sum(len(workload.batches) for workload in self.workloads)
        return calls * sum(len(section.names) for section in self.sections())


@dataclass
class Section:
    """One setup. names: of those who take part; left_out: why the others do not."""

    setup: Setup
    names: list[str]
    left_out: dict[str, str]
    results: list[Result] = field(default_factory=list)

    def prepare(self) -> None:
        """Write the files that candidates read; who cannot is left out."""
        for name in list(self.names):
            try:
                CANDIDATES[name].prepare(self.setup)
            except Exception as error:  # of other libraries, about a model they have not seen
                self.left_out[name] = reason_of(error)
                self.names.remove(name)


def run(comparison: Comparison, after_each: Callable[[], None] = nothing) -> Iterator[tuple[Section, Result | None]]:
    """Each section as it begins, with None, and then with each of its results.

    after_each: called after every timed call. Raises CandidateError if stock transformers cannot run the model.
    """
    expected: dict[str, Outputs] = {}
    for section in comparison.sections():
        section.prepare()
        yield section, None
        for workload in comparison.workloads:
            if workload.name not in expected:
                expected[workload.name] = reference(section.setup, workload)
            result = measure(
                section.names,
                section.setup,
                workload,
                comparison.plan,
                expected[workload.name],
                section.left_out,
                after_each,
            )
            section.results.append(result)
            yield section, result
