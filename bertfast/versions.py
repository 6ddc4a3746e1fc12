"""Which versions of transformers and torch are served and tested: the one place that says so.

Looked at when bertfast is imported, without importing either package.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata

logger = logging.getLogger("bertfast")


@dataclass(frozen=True)
class Served:
    """oldest: the first version that is served; before: the first that is not any more; tested: ascending.

    No zeros at the end of the first two.
    """

    oldest: tuple[int, ...]
    before: tuple[int, ...] | None
    tested: tuple[str, ...]

    def __str__(self) -> str:
        below = "" if self.before is None else f", below {_dotted(self.before)}"
        return f"{_dotted(self.oldest)} or later{below}"

    def holds(self, version: str) -> bool:
        """Whether it is served, as pip reads ``>=oldest,<before``: no pre-release of either."""
        found = _numbers(version)
        at_least = found > self.oldest or (found == self.oldest and not _is_pre_release(version))
        return at_least and (self.before is None or found < self.before)

    def is_newer(self, version: str) -> bool:
        """Whether it is newer than any that was tested."""
        return _numbers(version) > _numbers(self.tested[-1])


SERVED = {
    "torch": Served(oldest=(2, 11), before=None, tested=("2.11.0", "2.13.0", "2.14.1")),
    "transformers": Served(oldest=(4, 57), before=(6,), tested=("4.57.6", "5.20.2", "5.24.0")),
}


# An epoch in front is none.
_RELEASE = r"\d+(?:\.\d+)*(?!\d*!)"


class UnsupportedVersionWarning(UserWarning):
    """transformers or torch is installed in a version that bertfast is not made for."""


def check_versions(installed: Callable[[str], str] = metadata.version) -> None:
    """Warn of versions that are not served; log those that are newer than any tested, at INFO.

    A newer minor version usually works, and comes every month: nothing to warn everybody of. installed: the version
    of a package by its name; what raises PackageNotFoundError, or cannot be read, is not looked at.
    """
    for package, served, found in _installed(installed):
        if not served.holds(found):
            warnings.warn(
                f"{_not_served(package, served, found)}: imports may fail, and calls were never compared with stock "
                f"transformers there; {_cure(package, served)}",
                UnsupportedVersionWarning,
                stacklevel=3,
            )
        elif served.is_newer(found):
            logger.info("bertfast: %s", _newer(package, served, found))


def suspects(installed: Callable[[str], str] = metadata.version) -> list[str]:
    """Which versions an import may have failed for, and what to do. installed: as of `check_versions`."""
    suspected = []
    for package, served, found in _installed(installed):
        if not served.holds(found):
            suspected.append(f"{_not_served(package, served, found)}: {_cure(package, served)}")
        elif served.is_newer(found):
            suspected.append(f"{_newer(package, served, found)}: pip install '{package}=={served.tested[-1]}'")
    return suspected


def _installed(installed: Callable[[str], str]) -> Iterator[tuple[str, Served, str]]:
    """The packages whose version can be read: name, what is served, what is there."""
    for package, served in SERVED.items():
        try:
            found = installed(package)
        except metadata.PackageNotFoundError:
            continue
        if _numbers(found):
            yield package, served, found


def _not_served(package: str, served: Served, found: str) -> str:
    return f"bertfast serves {package} {served}, and {found} is installed"


def _newer(package: str, served: Served, found: str) -> str:
    return f"{package} {found} is newer than the newest version tested, {served.tested[-1]}"


def _cure(package: str, served: Served) -> str:
    return f"pip install '{package}{_specifier(served)}'"


def _numbers(version: str | None) -> tuple[int, ...]:
    """The release of a version, without zeros at its end, which mean nothing; empty if there is none.

    ``"2.13.0+cpu"``, ``"2.13.0.0"`` and ``"2.13.dev1"`` -> ``(2, 13)``.
    """
    found = re.match(_RELEASE, version or "")
    return tuple(map(int, re.sub(r"(\.0+)+$", "", found[0]).split("."))) if found else ()


def _is_pre_release(version: str) -> bool:
    """Whether it comes before the release that it names."""
    return re.match(_RELEASE + r"[-_.]?(a|b|c|rc|pre|dev)", version, re.IGNORECASE) is not None


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _specifier(served: Served) -> str:
    below = "" if served.before is None else f",<{_dotted(served.before)}"
    return f">={_dotted(served.oldest)}{below}"
