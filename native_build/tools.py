"""What every build needs and where it is: the C++ compiler, the headers of Python and of packages."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ISOLATION = "install with --no-build-isolation into an environment that has it"
_USUAL_COMPILERS = ("g++", "c++", "clang++")


class CannotBuild(Exception):
    """Something is missing or too old; the message says what, and what to do."""


def run(*command: str | Path) -> str:
    """What a program prints, on either stream. Raises CannotBuild, with all of it, if it fails."""
    try:
        done = subprocess.run(
            [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
    except OSError as error:
        raise CannotBuild(f"{command[0]} cannot be run: {error.strerror}") from error
    if done.returncode != 0:
        raise CannotBuild(f"{shlex.join(map(str, command))} exited with {done.returncode}:\n{done.stdout.strip()}")
    return done.stdout


@dataclass(frozen=True)
class Compiler:
    """A C++ compiler. ``version``: the first line it prints about itself."""

    command: tuple[str, ...]
    version: str


@dataclass(frozen=True)
class Package:
    """A Python package that brings headers."""

    version: str
    path: Path
    include: Path


def find_compiler(environment: Mapping[str, str]) -> Compiler:
    """``CXX``, or the first of the usual names that is there."""
    chosen = environment.get("CXX", "") or next(filter(shutil.which, _USUAL_COMPILERS), None)
    if chosen is None:
        usual = ", ".join(_USUAL_COMPILERS)
        raise CannotBuild(f"no C++ compiler: none of {usual} is on the PATH. Install g++, or name another by CXX")
    command = tuple(shlex.split(chosen))
    try:
        return Compiler(command, run(*command, "--version").splitlines()[0])
    except CannotBuild as error:
        raise CannotBuild(f"no C++ compiler: {error}. Install g++, or name another by CXX") from error


def find_python_headers() -> Path:
    """Where ``Python.h`` is."""
    include = Path(sysconfig.get_paths()["include"])
    if not (include / "Python.h").exists():
        raise CannotBuild("no Python.h: install the headers of this Python (Debian, Ubuntu: apt install python3-dev)")
    return include


def find_pybind11(*packages: str) -> Package:
    """The first of these packages that brings it: pybind11 itself, or torch, which has a copy among its headers."""
    for name in packages:
        path = package_path(name)
        if path is not None and (header := path / "include" / "pybind11" / "detail" / "common.h").exists():
            numbers = re.findall(
                r"^#\s*define PYBIND11_VERSION_M(?:AJOR|INOR)\s+(\d+)", header.read_text(), re.MULTILINE
            )
            return Package(".".join(numbers), path, path / "include")
    raise CannotBuild(f"no pybind11 in {sys.prefix}: pip install pybind11, and {ISOLATION}")


def package_path(name: str) -> Path | None:
    """Found, not imported: importing torch takes seconds."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0])
