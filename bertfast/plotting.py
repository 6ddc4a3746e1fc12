"""How figures are written, by matplotlib: the same figures give the same bytes."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bertfast.files import whole_file

# No random ids, text as text.
_RC = {"svg.hashsalt": "bertfast", "svg.fonttype": "none", "font.size": 8}


def need_matplotlib() -> None:
    """Raise ModuleNotFoundError, with what to do, where it is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ModuleNotFoundError("matplotlib is not installed; pip install '.[plot]' in bertfast's clone")


@contextmanager
def figure_file(path: Path, **how: Any) -> Iterator[Any]:
    """matplotlib's pyplot; the figure made by it is written in the end, in the format of the path's suffix.

    how: more for ``pyplot.savefig``. Raises ModuleNotFoundError, ValueError for a suffix that matplotlib does not know,
    OSError for a path that cannot be written.
    """
    need_matplotlib()
    import matplotlib

    is_svg = path.suffix == ".svg"
    matplotlib.use("svg" if is_svg else "agg")
    from matplotlib import pyplot

    with matplotlib.rc_context(_RC):
        try:
            yield pyplot
            # A date would differ each time.
            metadata = {"Date": None} if is_svg else None
            with whole_file(path) as partial:
                pyplot.savefig(partial, format=path.suffix[1:], metadata=metadata, **how)
        finally:
            pyplot.close()
