"""The fixture that measures, options, and what is written into the files. docs/benchmarking.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.gpu.timers import CudaTimer
from benchmarks.kernels.host import HostTimer
from benchmarks.kernels.measured import Bench, check
from benchmarks.kernels.record import describe_run, shorten, write_in_lines
from benchmarks.kernels.replay import REPLAY
from benchmarks.kernels.tables import Line, Measure, by_key, render
from bertfast.backends.cpu import CpuBackend

_LINES = pytest.StashKey[list[Line]]()
_BENCHES = pytest.StashKey[dict[str, Bench]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--threads", type=int, default=1, help="of a CPU's benchmarks of kernels; default: 1")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_LINES] = []
    config.stash[_BENCHES] = {}


@pytest.fixture(scope="session")
def benches(pytestconfig: pytest.Config) -> Iterator[Callable[[str], Bench]]:
    """By device. Made as bertfast makes itself at home on a CPU: malloc keeps memory, for all candidates alike."""
    before = torch.get_num_threads()
    torch.set_num_threads(pytestconfig.getoption("--threads"))
    torch.manual_seed(0)
    CpuBackend()
    made = pytestconfig.stash[_BENCHES]

    def get(device: str) -> Bench:
        if device not in made:
            timer = CudaTimer() if device == "cuda" else HostTimer()
            options = pytestconfig.option
            made[device] = Bench(timer, options.benchmark_min_rounds, float(options.benchmark_max_time))
        return made[device]

    with torch.inference_mode():
        yield get
    torch.set_num_threads(before)


@pytest.fixture
def measure(benchmark: Any, benches: Callable[[str], Bench], pytestconfig: pytest.Config) -> Measure:
    """Measures an implementation's group, unless the test before has, and hands pytest-benchmark its times."""

    def run(op: str, shape: str, dtype: str, implementation: str) -> None:
        group = by_key()[op, shape, dtype]
        benchmark.group, benchmark.name = str(group), f"{group} {implementation}"
        if benchmark.disabled:
            benchmark(check, group, group.make())
            return
        bench = benches(group.device)
        ceilings, measured = bench.ceilings, bench.measured(group)
        REPLAY.load([us / 1e6 for us in measured.wall_us[implementation]])
        benchmark.pedantic(REPLAY.step, rounds=len(measured.wall_us[implementation]))
        benchmark.extra_info.update(measured.facts(implementation, ceilings))
        median_us = benchmark.stats.stats.median * 1e6
        pytestconfig.stash[_LINES].append((str(group), implementation, dict(benchmark.extra_info), median_us))

    return run


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """What has to be the same for two runs to be compared, and no host's name."""
    for name in ("node", "processor", "python_build", "release"):
        machine_info.pop(name, None)
    cpu = machine_info.pop("cpu", {})
    machine_info.update({"cpu": cpu.get("brand_raw"), "torch": torch.__version__, "threads": _threads(config)})


def pytest_benchmark_update_json(config: pytest.Config, benchmarks: object, output_json: dict[str, Any]) -> None:
    benches: dict[str, Bench] = config.stash[_BENCHES]
    output_json.update(describe_run(config.invocation_params.args, _threads(config), benches))
    shorten(output_json)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    lines: list[Line] = config.stash[_LINES]
    if lines:
        terminalreporter.section("kernels")
        terminalreporter.write_line(render(lines))
    # Written when the session was finished.
    file = config.getoption("benchmark_json")
    if file and Path(file).exists():
        write_in_lines(Path(file))


def _threads(config: pytest.Config) -> int:
    return int(config.getoption("--threads"))


#: pytest-benchmark reads it from every test here.
CLOCK = pytest.mark.benchmark(timer=REPLAY.read)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "measure" in getattr(item, "fixturenames", ()):
            item.add_marker(CLOCK)
