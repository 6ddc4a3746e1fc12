"""A planted bug, and how the sources look with it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from planted import with_mistake

from kernels.device.compiler import KERNEL_DIRECTORY


@dataclass(frozen=True)
class Mutant:
    """A mistake to make in the source of a kernel, and what the reader that notices it has to say."""

    name: str
    op: str  # its .cu is compiled with the mistake
    file: str  # of csrc/kernels, where the mistake is
    replacements: tuple[tuple[str, str], ...]
    complaint: str
    test: str = ""  # the C++ test program, if it is not <op>_test
    case: str = ""  # how the reader of PTX calls its check, if it is not <op>

    @property
    def program(self) -> str:
        return self.test or f"{self.op}_test"

    @property
    def only(self) -> str | None:
        """The test of the program that complains, if it is to be one of them: the others need not run."""
        _, is_named, name = self.complaint.partition("FAIL  ")
        return name if is_named and name else None

    @property
    def slug(self) -> str:
        return re.sub(r"\W+", "-", f"{self.op} {self.name}")

    def source(self) -> str:
        """The text of ``file`` with the mistake. Raises ValueError as `planted.with_mistake` does."""
        return with_mistake(KERNEL_DIRECTORY / self.file, self.replacements)

    def write(self, directory: Path) -> Path:
        """Put the file with the mistake into ``directory``/kernels; returns the path of the .cu to compile."""
        path = directory / "kernels" / self.file
        path.parent.mkdir(parents=True, exist_ok=True)
        text = self.source()
        for other in path.parent.iterdir():
            # The mistake may have been in another file once.
            if other != path:
                other.unlink()
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
        own = directory / "kernels" / f"{self.op}.cu"
        return own if self.file == own.name else KERNEL_DIRECTORY / own.name
