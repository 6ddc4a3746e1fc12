"""Programs with a time limit, whose output is seen while they run and kept when they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gpu.paths import ROOT

# What a program that was asked to end gets to write down its results.
_GRACE_SECONDS = 5.0


@dataclass(frozen=True)
class Finished:
    """code: the exit status, None if the program was ended because its time was up. output: of both streams."""

    code: int | None
    output: str
    seconds: float

    @property
    def succeeded(self) -> bool:
        return self.code == 0

    @property
    def why(self) -> str:
        """How it ended, for a message."""
        if self.code is None:
            return f"its time was up after {self.seconds:.0f} s"
        return f"exit status {self.code}"


def python(*arguments: str | Path) -> list[str]:
    """A command of the interpreter that runs this."""
    return [sys.executable, *map(str, arguments)]


def environment(**changes: str) -> dict[str, str]:
    """This process's, with the repository first among Python's paths and no reach for a model hub."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    fixed = {"PYTHONPATH": os.pathsep.join(paths), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    # Output through a pipe would otherwise come in blocks.
    return {**os.environ, **fixed, "PYTHONUNBUFFERED": "1", **changes}


def run(command: list[str], limit_s: float, log: Path, show: bool = True, **changes: str) -> Finished:
    """Run a program from the repository's root. changes: of its environment.

    Output goes to ``log`` and, with ``show``, to this process's own. When the time is up, the program and all that it
    started are asked to end (SIGINT, so that Python writes down what it has) and then made to.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    try:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=ROOT,
            env=environment(**changes),
            start_new_session=True,
        )
    except OSError as error:
        return Finished(127, f"{command[0]} cannot be run: {error.strerror}", 0.0)
    lines: list[str] = []
    reader = threading.Thread(target=_copy, args=(process, log, lines, show), daemon=True)
    reader.start()
    try:
        process.wait(limit_s)
        code: int | None = process.returncode
    except subprocess.TimeoutExpired:
        code = None
    finally:
        _end(process)
    # A grandchild that lives on in a session of its own would hold the pipe open.
    reader.join(_GRACE_SECONDS)
    return Finished(code, "".join(lines), time.monotonic() - start)


def _copy(process: subprocess.Popen[str], log: Path, lines: list[str], show: bool) -> None:
    assert process.stdout is not None
    with log.open("w") as file:
        for line in process.stdout:
            lines.append(line)
            file.write(line)
            file.flush()
            if show:
                sys.stdout.write(line)
                sys.stdout.flush()


def _end(process: subprocess.Popen[str]) -> None:
    for number in (signal.SIGINT, signal.SIGKILL):
        if process.poll() is not None:
            return
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        try:
            process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            continue
