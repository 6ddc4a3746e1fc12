"""The texts that a user gives, one a line or as JSON lines; or docstrings of Python's standard library."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bertfast.cli.errors import UsageError
from bertfast.corpus import docstrings

_DEFAULT_COUNT = 128
# What stands for one text a line; a file without a suffix does, too.
_PLAIN = ("", ".txt", ".text")
_JSON_LINES = ".jsonl"


@dataclass(frozen=True)
class Text:
    """One input of a model; pair: the second text, where there are two."""

    text: str
    pair: str | None = None


@dataclass(frozen=True)
class Texts:
    """source: for a report, without folders."""

    source: str
    texts: tuple[Text, ...]


def read_texts(path: str | None, at_most: int | None = None) -> Texts:
    """path: of a file, ``"-"`` for standard input, None for docstrings. at_most: the first so many.

    In a file whose name ends in ``.jsonl`` each line is ``{"text": ..., "text_pair": ...}``, where the pair may be left
    out; in ``.txt``, or without an ending, each line is a text. Standard input is either, as its first line tells. A
    byte order mark and empty lines count for nothing. Raises UsageError; for other endings, too.
    """
    if path is None:
        found = docstrings(_DEFAULT_COUNT if at_most is None else at_most)
        return Texts("docstrings of Python's standard library", tuple(map(Text, found)))
    contents = _contents(path)
    read = _reader_of_input(contents) if path == "-" else _reader(path)
    lines = enumerate(contents.split("\n"), start=1)
    texts = tuple(read(f"{path}, line {number}", line) for number, line in lines if line.strip())
    if not texts:
        raise UsageError(f"{path}: no texts in it; expected one a line")
    return Texts("standard input" if path == "-" else Path(path).name, texts[:at_most])


def _reader(path: str) -> Callable[[str, str], Text]:
    """Of a file's lines, by its name alone."""
    ending = Path(path).suffix.lower()
    if ending == _JSON_LINES:
        return _json_line
    if ending not in _PLAIN:
        raise UsageError(
            f"{path}: {ending} is no format of texts; expected .txt with one text a line, .jsonl with "
            f'{{"text": "..."}} a line, or - for such lines on standard input'
        )
    return _plain_line


def _reader_of_input(contents: str) -> Callable[[str, str], Text]:
    """Standard input has no name: its first line tells JSON lines."""
    first = next((line for line in contents.split("\n") if line.strip()), "")
    try:
        return _json_line if isinstance(json.loads(first), dict) else _plain_line
    except ValueError:
        return _plain_line


def _contents(path: str) -> str:
    try:
        return sys.stdin.read().removeprefix("\ufeff") if path == "-" else Path(path).read_text("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; expected a file with one text a line") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: byte {error.start} is not UTF-8; convert the file to UTF-8") from error


def _plain_line(where: str, line: str) -> Text:
    return Text(line.strip())


def _json_line(where: str, line: str) -> Text:
    expected = 'expected {"text": "...", "text_pair": "..."}, text_pair may be left out'
    try:
        found = json.loads(line)
    except ValueError as error:
        raise UsageError(f"{where}: not JSON ({error}); {expected}") from error
    if not isinstance(found, dict):
        raise UsageError(f"{where}: a JSON {type(found).__name__}; {expected}")
    text, pair = found.get("text"), found.get("text_pair")
    if not isinstance(text, str) or not isinstance(pair, str | None):
        raise UsageError(f"{where}: text={text!r:.40}, text_pair={pair!r:.40}; {expected}")
    return Text(text, pair)
