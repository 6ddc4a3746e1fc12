"""Reads the command line and runs the command. Exit codes: of the command, or 2 for what was given wrong."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from bertfast._version import __version__
from bertfast.cli.errors import UsageError
from bertfast.cli.registry import COMMANDS
from bertfast.errors import BertfastError

BAD_INPUT = 2
INTERRUPTED = 130  # as shells count: 128 and SIGINT


class _Parser(argparse.ArgumentParser):
    """One line for what is wrong, where argparse prints all options first."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """argv: without the program's name; None for the process's own."""
    try:
        code = _run(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except BrokenPipeError:  # of `bertfast ... | head`; Python would complain again when it closes stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


def _run(given: list[str]) -> int:
    try:
        arguments = _parser(given).parse_args(given)
    except SystemExit as ended:  # how argparse ends --help, and what it cannot read
        return int(ended.code or 0)
    try:
        return int(arguments.run(arguments))
    except (UsageError, BertfastError) as error:
        print(f"bertfast {arguments.command}: error: {_one_line(error)}", file=sys.stderr)
        return BAD_INPUT


def _parser(given: Sequence[str]) -> _Parser:
    """Of all commands; with the arguments of the one that is given, no other is imported."""
    parser = _Parser(prog="bertfast", description="BERT encoders without their padding.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"bertfast {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)
    for command in COMMANDS:
        own = commands.add_parser(command.name, help=command.summary, allow_abbrev=False)
        own.formatter_class = argparse.RawDescriptionHelpFormatter
        if given[:1] == [command.name]:
            module = command.load()
            own.description = module.__doc__
            own.set_defaults(run=module.run)
            module.add_arguments(own)
    return parser


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
