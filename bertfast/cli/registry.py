"""Which commands there are. The module of a command is imported only to run it, or to print its own help.

A module has ``add_arguments(parser)`` and ``run(arguments) -> int``, whose result is the exit code: 0, or 1 where the
command ran and its finding is negative. What a user gave wrong is raised as `bertfast.cli.errors.UsageError`.
"""

from __future__ import annotations

import argparse
import importlib
from dataclasses import dataclass
from typing import Protocol, cast


class CommandModule(Protocol):
    """What the module of a command has; its docstring is the description that ``--help`` prints."""

    __doc__: str | None

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, arguments: argparse.Namespace) -> int: ...


@dataclass(frozen=True)
class Command:
    """name: what a user types; summary: its line in ``bertfast --help``; module: inside of ``bertfast.cli``."""

    name: str
    summary: str
    module: str

    def load(self) -> CommandModule:
        return cast("CommandModule", importlib.import_module(f"bertfast.cli.{self.module}"))


COMMANDS: tuple[Command, ...] = (
    Command("env", "versions, devices and what would run here: what a bug report needs", "env"),
    Command("verify", "your model on your texts: how far it is from stock transformers in float32", "verify"),
    Command("kernels", "what the CUDA kernels need of each architecture, and how fast they could be", "kernels"),
    Command("bench", "time a model beside transformers and other engines: latency, tokens/s, error", "bench"),
)
