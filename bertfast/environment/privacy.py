"""Nothing that names a user or their folders leaves in a report: reports are pasted in public."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

# The name of a user's own folder, which may also end a path.
_USER = re.compile(r"([\\/](?:home|Users)[\\/])[^\\/\s:;,'\"]+", re.IGNORECASE)
# An absolute path, of Linux or Windows; not what goes on from a word, as in "and/or", nor what follows "https:".
_PATH = re.compile(
    r"(?:file://(?=/)|(?<![\w./~\\-])(?!//))"
    r"(?:[A-Za-z]:[\\/]|~[\w.-]*/|/)(?=\S)"
    r"(?:[^\s,;:'\"()\\/]+[\\/])*([^\s,;:'\"()\\/]*)"
)


def public(text: str, folders: Iterable[Path] | None = None) -> str:
    """``text`` with ``...`` for the folders of every absolute path: ``.../_C.so``.

    folders: replaced wherever they begin a path, also where their names hold spaces; by default those that this
    process is likely to name.
    """
    known = _folders() if folders is None else folders
    for folder in sorted({str(folder) for folder in known}, key=len, reverse=True):
        if len(folder) > 1:
            text = text.replace(folder, "/...")
    text = _USER.sub(r"\1...", text)
    return _PATH.sub(lambda found: f".../{found[1]}" if found[1] != "..." else "...", text)


def public_argument(argument: str) -> str:
    """An argument of a command: of an absolute path the last name alone, whatever stands in its folders."""
    return f".../{Path(argument).name}" if Path(argument).is_absolute() else public(argument)


def public_name(name: str) -> str:
    """A name of the hub, or of a folder that is there only the last name, and that is not a user's."""
    return public(str(Path(name).resolve())).rpartition("/")[2] if Path(name).is_dir() else public(name)


def _folders() -> list[Path]:
    try:
        personal = [Path.home(), Path.cwd()]
    except (OSError, RuntimeError):  # a user without a home, a folder that was removed
        personal = []
    return [*personal, Path(__file__).resolve().parents[2], Path(sys.prefix), Path(tempfile.gettempdir())]
