"""A process that forks after a forward, and its children: both go on computing, whoever computes meanwhile."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import fork_scenarios
import pytest

import bertfast
from bertfast import reporting
from bertfast.changing import CHANGING

pytestmark = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods() or sys.platform != "linux", reason="needs fork on Linux"
)


@pytest.fixture(scope="module")
def outcomes() -> dict[tuple[str, str], str]:
    """Of all scenarios, run in one process: torch's threads are this process's, and one is all they need."""
    root = Path(bertfast.__file__).parents[1]
    # In a session of its own, so that children that hang end with it.
    process = subprocess.Popen(
        [sys.executable, fork_scenarios.__file__],
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=300)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        output, _ = process.communicate()
    lines = [line.split("|", 2) for line in output.splitlines()]
    found = {(line[0], line[1]): line[2] for line in lines if len(line) == 3}
    return {**found, ("", ""): output}


@pytest.mark.parametrize(
    ("scenario", "model"),
    [(scenario.__name__, model) for scenario, models in fork_scenarios.SCENARIOS.items() for model in models],
)
def test_children_compute_the_same_bits(scenario, model, outcomes):
    """Stock torch hangs in the child: there are none of the threads that its OpenMP waits for."""
    outcome = outcomes.get((scenario, model), "it did not get there")
    if outcome.startswith("lacks: "):
        pytest.skip(outcome)
    assert outcome == "ok", outcomes["", ""]


def _fork_while(hold, release, check) -> int:
    """Fork while another thread is between ``hold`` and ``release``; the status of a child that runs ``check``."""
    held, done = threading.Event(), threading.Event()

    def other() -> None:
        hold()
        held.set()
        done.wait(0.2)
        release()

    thread = threading.Thread(target=other)
    thread.start()
    assert held.wait(30)
    pid = os.fork()
    if pid == 0:
        check()
        os._exit(0)
    done.set()
    thread.join()
    for _ in range(300):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return status
        time.sleep(0.1)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return -1


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("lock", [CHANGING, reporting._lock], ids=["models", "counts"])
def test_a_lock_that_another_thread_holds_is_free_in_the_child(lock):
    def use() -> None:
        with CHANGING:
            reporting.stats()

    assert _fork_while(lock.acquire, lock.release, use) == 0
    use()
