"""Real texts without a download: docstrings of the standard library."""

from __future__ import annotations

import importlib
import inspect
import warnings

_MODULES = (
    *("argparse", "asyncio", "collections", "csv", "datetime", "decimal", "difflib", "email.message", "functools"),
    *("heapq", "inspect", "json", "logging", "os", "pathlib", "random", "re", "shutil", "statistics", "string"),
    *("subprocess", "tempfile", "textwrap", "threading", "unittest", "urllib.parse", "zipfile"),
)


def docstrings(count: int) -> list[str]:
    """``count`` docstrings, spread evenly over the modules in their order."""
    docs = all_docstrings()
    return [docs[i * len(docs) // count] for i in range(count)]


def all_docstrings() -> list[str]:
    """Each docstring once, on one line."""
    found: dict[str, None] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for module in map(importlib.import_module, _MODULES):
            for thing in vars(module).values():
                doc = thing.__doc__ if inspect.isroutine(thing) or inspect.isclass(thing) else None
                if isinstance(doc, str) and len(doc) > 20:
                    found[" ".join(doc.split())] = None
    return list(found)
