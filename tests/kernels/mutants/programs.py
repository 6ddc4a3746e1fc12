"""C++ test programs with a mistake in one kernel: what is not touched by it comes from a finished build.

Objects are kept by a hash of the preprocessed source, as ccache does, and outcomes by a hash of the program.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from kernels.device.compiler import KERNEL_DIRECTORY
from kernels.device.tools import run
from kernels.host_build import ROOT
from kernels.mutants.mutant import Mutant

_SCRATCH = ROOT / "build" / "mutants"  # `make clean` removes it with the other builds
_TIMEOUT_S = 120
_LATE = f"did not end within {_TIMEOUT_S} s"


@dataclass(frozen=True)
class Outcome:
    """How a program ended. ``failed``: with anything but success, in time."""

    failed: bool
    output: str


@dataclass(frozen=True)
class Programs:
    """The test programs of one build, a directory that CMake has filled."""

    build: Path
    link_options: tuple[str, ...] = ()
    prefix: tuple[str, ...] = ()  # of the command that runs a program
    environment: tuple[tuple[str, str], ...] = ()

    def is_seen(self, mutant: Mutant) -> bool:
        """Whether the mistake is in code that is compiled here at all."""
        source, command = self._mutated(mutant)
        right = _preprocess(self._command(f"{mutant.op}.cu"), KERNEL_DIRECTORY / source.name, "-P")
        return _preprocess(command, source, "-P") != right

    def run(self, mutant: Mutant) -> Outcome:
        """The outcome of the mutant's test program."""
        source, command = self._mutated(mutant)
        program = self._link(self._directory(mutant) / mutant.program, self._compile(command, source), mutant.program)
        return self._run(program, mutant.only)

    def _directory(self, mutant: Mutant) -> Path:
        return _SCRATCH / self.build.name / mutant.slug

    def _mutated(self, mutant: Mutant) -> tuple[Path, list[str]]:
        """The .cu, and a compiler's command that finds the file with the mistake before the right one."""
        directory, command = self._directory(mutant), self._command(f"{mutant.op}.cu")
        # A mistake may leave a variable unused.
        options = (f"-fmacro-prefix-map={directory}/=csrc/", "-Wno-error")
        return mutant.write(directory), [command[0], "-I", str(directory), *command[1:], *options]

    @cached_property
    def _commands(self) -> dict[str, list[str]]:
        """How each file of csrc/kernels is compiled, without ``-o`` and the file."""
        commands = {}
        for entry in json.loads((self.build / "compile_commands.json").read_text()):
            words = shlex.split(entry["command"])
            commands[Path(entry["file"]).name] = words[: words.index("-o")]
        return commands

    def _command(self, name: str) -> list[str]:
        return self._commands[name]

    def _compile(self, command: list[str], source: Path) -> Path:
        key = hashlib.sha256(f"{command}\n{_preprocess(command, source)}".encode()).hexdigest()
        target = _SCRATCH / "objects" / f"{key}.o"
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            unfinished = target.with_suffix(f".{self.build.name}")
            run(*command, "-x", "c++", "-c", source, "-o", unfinished)
            unfinished.rename(target)
        return target

    def _link(self, target: Path, mutated: Path, program: str) -> Path:
        """The mutated object comes first, so that the library's own is never looked for."""
        tests = self.build / "csrc" / "tests"
        own = tests / "CMakeFiles" / f"{program}.dir" / f"{program}.cpp.o"
        libraries = (tests / "libbertfast_testing.a", self.build / "csrc/emulation/libbertfast_emulated_kernels.a")
        run("g++", *self.link_options, mutated, own, *libraries, "-o", target)
        return target

    def _run(self, program: Path, only: str | None) -> Outcome:
        key = hashlib.sha256(program.read_bytes() + repr(only).encode()).hexdigest()
        kept = _SCRATCH / "outcomes" / f"{key}.json"
        if not kept.exists():
            outcome = self._run_now(program, only)
            if outcome.output == _LATE:  # says as much of a busy machine as of the program
                return outcome
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps([outcome.failed, outcome.output]))
        return Outcome(*json.loads(kept.read_text()))

    def _run_now(self, program: Path, only: str | None) -> Outcome:
        variables = (*self.environment, *((("BERTFAST_TEST", only),) if only else ()))
        command = ["env", *(f"{name}={value}" for name, value in variables), *self.prefix, str(program)]
        try:
            done = subprocess.run(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=_TIMEOUT_S, errors="replace"
            )
        except subprocess.TimeoutExpired:
            return Outcome(True, _LATE)
        return Outcome(done.returncode != 0, f"{done.stdout}\nexit status {done.returncode}")


def _preprocess(command: list[str], source: Path, *options: str) -> str:
    return run(*command, "-x", "c++", "-E", *options, source)
