"""A bar on a terminal; nothing where nobody looks on."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any


class Progress:
    """Counts timed calls. Lines are to be printed by `say` while it is open: the bar stands below them."""

    def __init__(self, total: int) -> None:
        from tqdm import tqdm  # comes with transformers

        self._bar: Any = tqdm(total=total, unit="call", file=sys.stderr, disable=not sys.stderr.isatty(), leave=False)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.close()

    def step(self) -> None:
        self._bar.update()

    def doing(self, what: str) -> None:
        self._bar.set_description(what)

    def say(self, line: str) -> None:
        if self._bar.disable:
            print(line, flush=True)
        else:
            self._bar.write(line, file=sys.stdout)
