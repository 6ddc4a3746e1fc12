"""Mistakes that are planted in a source, to see who notices."""

from __future__ import annotations

from pathlib import Path


def with_mistake(file: Path, replacements: tuple[tuple[str, str], ...]) -> str:
    """The text of a file after the replacements. Raises ValueError where it has changed too much for one of them."""
    text = file.read_text()
    for old, new in replacements:
        if text.count(old) != 1:
            raise ValueError(f"{file.name} has {old!r} {text.count(old)} times, not once")
        text = text.replace(old, new)
    return text
