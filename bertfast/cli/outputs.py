"""Where a command writes: made and tried before it measures, for what it finds may have taken an hour."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bertfast.cli.errors import UsageError
from bertfast.plotting import need_matplotlib


def check_file(option: str, path: Path | None) -> None:
    """Make the folder of a file that an option names, and see that it can be written. Raises UsageError."""
    if path is None:
        return
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"{option} {path}: it is no file; expected a name for one")
        path.parent.mkdir(parents=True, exist_ok=True)
        _try_folder(path.parent)
    except OSError as error:
        raise _refused(option, path, error, "a file") from error


def check_folder(option: str, path: Path | None) -> None:
    """The same of a folder."""
    if path is None:
        return
    try:
        path.mkdir(parents=True, exist_ok=True)
        _try_folder(path)
    except OSError as error:
        raise _refused(option, path, error, "a folder") from error


def check_plotting(option: str) -> None:
    """That figures can be drawn. Raises UsageError."""
    try:
        need_matplotlib()
    except ModuleNotFoundError as error:
        raise UsageError(f"{option}: {error}") from error


def _try_folder(path: Path) -> None:
    """What os.access says of root, of full disks and of read-only systems is not what happens."""
    tempfile.TemporaryFile(dir=path).close()


def _refused(option: str, path: Path, error: OSError, what: str) -> UsageError:
    return UsageError(f"{option} {path}: {error.strerror}; expected {what} that can be written")
