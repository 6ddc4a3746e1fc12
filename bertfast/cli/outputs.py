"""Where a command writes: tried before it measures, for what it finds may have taken an hour."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from bertfast.cli.errors import UsageError
from bertfast.files import try_file, try_folder
from bertfast.plotting import need_matplotlib

_NONE: Mapping[str, Path | None] = MappingProxyType({})


def check_outputs(files: Mapping[str, Path | None], folders: Mapping[str, Path | None] = _NONE) -> None:
    """See that each can be written, and leave nothing behind: the command may still refuse what else was given.

    By the names of their options, None where one was not given. Raises UsageError.
    """
    wanted_files = {option: path for option, path in files.items() if path is not None}
    wanted_folders = {option: path for option, path in folders.items() if path is not None}
    for option, path in wanted_files.items():
        with told_of(option, path):
            try_file(path)
    for option, path in wanted_folders.items():
        with told_of(option, path, "a folder"):
            try_folder(path)
    for option, path in wanted_files.items():
        _check_apart(option, path, {**wanted_files, **wanted_folders})


def check_plotting(option: str) -> None:
    """That figures can be drawn. Raises UsageError."""
    try:
        need_matplotlib()
    except ModuleNotFoundError as error:
        raise UsageError(f"{option}: {error}") from error


@contextmanager
def told_of(option: str, path: Path, what: str = "a file") -> Iterator[None]:
    """OSError becomes UsageError. Around what writes to ``path``, which ``option`` named."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{option} {path}: {error.strerror or error}; expected {what} that can be written: name another, or make "
            "room or permissions for this one"
        ) from error


def _check_apart(option: str, path: Path, all_paths: Mapping[str, Path]) -> None:
    """No other output is in the place of a file, or below it."""
    place = Path(os.path.realpath(path))
    for other, given in all_paths.items():
        taken = Path(os.path.realpath(given))
        if other != option and place in (taken, *taken.parents):
            raise UsageError(
                f"{option} {path} and {other} {given}: the first is to be a file; expected a name for each"
            )
