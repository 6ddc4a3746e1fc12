"""From the text of a PTX body to its statements."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from kernels.ptx.errors import Unsupported


@dataclass(frozen=True)
class Statement:
    text: str  # without its semicolon; a label keeps its colon
    line: int
    scopes: tuple[int, ...]  # of the braces around it, outermost first


def without_comments(text: str) -> str:
    """The same number of lines, comments left out."""

    def blank(comment: re.Match[str]) -> str:
        return "\n" * comment[0].count("\n")

    return re.sub(r"//[^\n]*|/\*.*?\*/", blank, text, flags=re.DOTALL)


def outside_of_bodies(text: str) -> str:
    """Only what is not in braces."""
    depth, kept, end = 0, [], 0
    for brace in re.finditer(r"[{}]", text):
        if brace[0] == "{":
            if depth == 0:
                kept.append(text[end : brace.start()])
            depth += 1
        else:
            depth -= 1
            end = brace.end()
    return "".join([*kept, text[end:]])


def split_body(text: str, begin: int) -> Iterator[Statement]:
    """The statements from ``begin``, just behind a body's brace, to the brace that closes it.

    Inline assembly may open scopes of its own. A brace at the start of a statement is such a scope, any other is
    part of an operand.
    """
    line = text.count("\n", 0, begin) + 1
    scopes, num_scopes, pending, first_line = [0], 0, "", line
    for character in text[begin:]:
        line += character == "\n"
        if not pending.strip():
            pending, first_line = "", line
            if character == "{":
                num_scopes += 1
                scopes.append(num_scopes)
                continue
            if character == "}":
                scopes.pop()
                if not scopes:
                    return
                continue
        is_label = character == ":" and re.fullmatch(r"\s*[$\w]+", pending) is not None
        if character == ";" or is_label:
            words = (pending + ":" if is_label else pending).split()
            if words:
                yield Statement(" ".join(words), first_line, tuple(scopes))
            pending = ""
        else:
            pending += character
    raise Unsupported("a body without an end")
