"""What a plan is: of one extension, made before anything is compiled."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).resolve().parents[1]
CSRC = ROOT / "csrc"


class Plan(Protocol):
    """A build that can be done."""

    @property
    def name(self) -> str:
        """Of the module: "bertfast._C"."""

    @property
    def optional(self) -> bool:
        """Whether bertfast is installed without the extension should the build fail."""

    @property
    def sources(self) -> list[Path]:
        """What is compiled."""

    @property
    def dependencies(self) -> list[Path]:
        """What else, if it changes, makes the binary old."""

    def config_source(self) -> str:
        """A C++ file with what is known of a build only when it is made. If it changes, the binary is old."""

    def build(self, config: Path, directory: Path, binary: Path) -> None:
        """Make ``binary``, by way of ``directory``, from the sources and ``config``. Raises CannotBuild."""


def version_of_bertfast() -> str:
    """Read, not imported: the build has no torch."""
    text = (ROOT / "bertfast" / "_version.py").read_text()
    return str(re.findall(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)[0])


def build_files(kind: str) -> list[Path]:
    """Of this package: those that a build of this kind is made by."""
    here = Path(__file__).parent
    return sorted([*here.glob("*.py"), *(here / kind).glob("*.py")])


def constants_source(comment: str, folder: str, *texts: str) -> str:
    """The definition of what csrc/<folder>/build_config.h declares."""
    return "\n".join(
        [
            f"// {comment}",
            f'#include "{folder}/build_config.h"',
            "",
            f"namespace bertfast::{folder} {{",
            "",
            "const BuildConfig kBuildConfig = {",
            *(f"    {_c_string(text)}," for text in texts),
            "};",
            "",
            f"}}  // namespace bertfast::{folder}",
            "",
        ]
    )


def _c_string(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
