"""The C++ tests of the emulated kernels once more, under sanitizers, and proof that those see what they are for."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from processes import FIXED_ADDRESSES, NO_FIXED_ADDRESSES, has_fixed_addresses

from kernels.device.tools import MissingTool
from kernels.host_build import ROOT, build_sanitized

pytestmark = pytest.mark.slow

PROBE = ROOT / "csrc" / "tests" / "sanitizer_probe.cpp"
# For the probe; the tests have their options from CMake.
_ENVIRONMENT = {"ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1"}


def _run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **_ENVIRONMENT}
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600, env=environment
    )


@pytest.fixture(scope="module")
def address() -> Path:
    """A build with AddressSanitizer and UndefinedBehaviorSanitizer."""
    try:
        return build_sanitized("address,undefined")
    except MissingTool as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def thread() -> Path:
    """A build with ThreadSanitizer."""
    # Its shadow memory has no room for addresses as random as Linux makes them.
    if not has_fixed_addresses():
        pytest.skip(NO_FIXED_ADDRESSES)
    try:
        return build_sanitized("thread")
    except MissingTool as missing:
        pytest.skip(str(missing))


def _assert_all_pass(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stdout
    assert "100% tests passed" in done.stdout


def test_no_bad_access_and_no_undefined_behaviour(address: Path) -> None:
    _assert_all_pass(_run("ctest", "--test-dir", address, "--output-on-failure", "--parallel", "2"))


def test_no_race(thread: Path) -> None:
    ctest = ("ctest", "--test-dir", thread, "--output-on-failure", "--parallel", "2")
    _assert_all_pass(_run(*FIXED_ADDRESSES, *ctest))


def _probe(build: Path, name: str) -> subprocess.CompletedProcess[str]:
    return _run(*FIXED_ADDRESSES, build / "csrc" / "tests" / "sanitizer_probe", name)


def _marked_line(name: str) -> int:
    """The line of the probe's kernel that ends in ``// here``."""
    lines = PROBE.read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if f" {name}_kernel(" in line)
    return next(i for i in range(start, len(lines)) if lines[i].endswith("// here")) + 1


def _assert_reported(done: subprocess.CompletedProcess[str], name: str, what: str) -> None:
    assert done.returncode != 0, done.stdout
    assert what in done.stdout
    assert re.search(rf"csrc/tests/sanitizer_probe\.cpp:{_marked_line(name)}\b", done.stdout), done.stdout


def test_a_right_kernel_is_not_reported(address: Path, thread: Path) -> None:
    for build in (address, thread):
        done = _probe(build, "right")
        assert (done.returncode, done.stdout) == (0, "right: status 0, right\n")


@pytest.mark.parametrize(
    ("name", "what"), [("past_the_end", "heap-buffer-overflow"), ("overflow", "signed integer overflow")]
)
def test_bad_code_is_reported(address: Path, name: str, what: str) -> None:
    _assert_reported(_probe(address, name), name, what)


@pytest.mark.parametrize("name", ["no_barrier", "barrier_too_few", "shuffle_for_a_barrier", "blocks_that_meet"])
def test_a_race_is_reported_though_the_result_is_right(thread: Path, name: str) -> None:
    done = _probe(thread, name)
    assert f"{name}: status 0, right" in done.stdout
    _assert_reported(done, name, "ThreadSanitizer: data race")
