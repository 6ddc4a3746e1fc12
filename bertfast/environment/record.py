"""Files of results: JSON behind the command that made it."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bertfast.environment.privacy import public_argument
from bertfast.files import whole_file


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """A program that is ended meanwhile leaves the last whole file. Raises OSError."""
    text = json.dumps({"command": command(sys.orig_argv), **content}, indent=1) + "\n"
    with whole_file(path) as partial:
        partial.write_text(text)


def command(argv: Sequence[str]) -> str:
    """A process's ``sys.orig_argv`` as somebody else types it: ``python benchmarks/compare_cpu.py --rounds 3``."""
    arguments = [public_argument(argument) for argument in argv[1:]]
    if arguments and Path(arguments[0]).name == "bertfast":
        # The installed program, which names its Python itself.
        return shlex.join(["bertfast", *arguments[1:]])
    return shlex.join(["python", *arguments])
