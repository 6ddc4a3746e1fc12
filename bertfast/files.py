"""Files that are whole or as they were, whenever a program ends."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A new file to write to, which takes the place of ``path`` in the end; where that fails, none of it stays.

    Links stay links, and folders that are missing are made. Raises OSError.
    """
    path = _resolved(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # A short name that nobody else has. Those of tempfile can be read by their owner alone, and so would the results.
    partial = path.with_name(f".bertfast-{secrets.token_hex(8)}.partial")
    partial.touch(exist_ok=False)
    try:
        yield partial
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def try_file(path: Path) -> None:
    """Raises the OSError that `whole_file` would, and leaves nothing behind."""
    _try(_resolved(path))


def try_folder(path: Path) -> None:
    """The same for files in a folder."""
    _try(Path(os.path.realpath(path)) / "a")


def _try(path: Path) -> None:
    """What is missing of the path is made by its own names, in a temporary folder where it would begin.

    What os.access says of root, of full disks and of read-only systems is not what happens. path: resolved.
    """
    # A link that is still in it is one that leads nowhere, in which no folder can be made.
    there = next(folder for folder in path.parents if os.path.lexists(folder))
    with tempfile.TemporaryDirectory(prefix=".bertfast-", dir=there) as folder:
        tried = Path(folder) / path.relative_to(there)
        tried.parent.mkdir(parents=True, exist_ok=True)
        tried.write_bytes(b"\n")


def _resolved(path: Path) -> Path:
    """Without links. Raises OSError for what is there and is no file: a folder, a device, links in a circle."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        pass
    else:
        if not stat.S_ISREG(mode):
            raise FileExistsError(errno.EEXIST, "it is there and is no file", str(path))
    # Not Path.resolve, which raises RuntimeError for links in a circle in some versions of Python.
    return Path(os.path.realpath(path))
