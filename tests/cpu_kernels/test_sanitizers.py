"""The CPU kernels under ThreadSanitizer, AddressSanitizer and UndefinedBehaviorSanitizer, and proof that these see."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from processes import FIXED_ADDRESSES, NO_FIXED_ADDRESSES, has_fixed_addresses

from cpu_kernels.sanitized import MUTANTS, ROOT, Mutant, build
from native_build.tools import CannotBuild

pytestmark = pytest.mark.slow

# Looking for leaks takes ptrace, which containers often forbid.
_ENVIRONMENT = {"ASAN_OPTIONS": "detect_leaks=0", "TSAN_OPTIONS": "halt_on_error=1"}
# Accesses that sanitizers do not see by themselves.
_UNSEEN = r"_mm\d*_(?:mask_store|maskz_load|mask_load)\w*|_mm\d*_mask_\w*store\w*|_mm\d*_\w*(?:gather|scatter)\w*"


def _run(sanitizer: str, mutant: Mutant | None = None) -> subprocess.CompletedProcess[str]:
    if not has_fixed_addresses():
        pytest.skip(NO_FIXED_ADDRESSES)
    try:
        program = build(sanitizer, mutant)
    except CannotBuild as error:
        pytest.skip(str(error))
    return subprocess.run(
        [*FIXED_ADDRESSES, program],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        env={**os.environ, **_ENVIRONMENT},
    )


@pytest.mark.parametrize("sanitizer", ["thread", "address,undefined"])
def test_nothing_is_reported(sanitizer):
    """And many threads at once, with threads of their own, get the bits that one gets alone."""
    done = _run(sanitizer)
    assert done.returncode == 0, done.stdout
    assert re.fullmatch(r"(\d+ cases, 0 other bits\n){2}", done.stdout)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mistake_is_reported(mutant):
    done = _run(mutant.sanitizer, mutant)
    assert done.returncode != 0, done.stdout
    assert mutant.complaint in done.stdout, done.stdout


def test_every_access_is_seen():
    """Masked ones are made visible by a header, each by its name."""
    files: list[Path] = [*(ROOT / "csrc" / "cpu").iterdir()]
    used = {name for path in files for name in re.findall(_UNSEEN, path.read_text())}
    header = (ROOT / "csrc" / "tests" / "cpu" / "checked_intrinsics.h").read_text()
    assert used
    assert used == set(re.findall(r"#define (_mm\w+)", header))
