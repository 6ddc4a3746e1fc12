"""One licence for every file, as REUSE reads it. (`reuse` has no wheel for some versions of Python.)"""

from __future__ import annotations

import re
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_FOLDERS = ("bertfast", "benchmarks", "csrc", "docs", "examples", "native_build", "requirements", "tests")
# In two halves, for this file is read, too.
_TAG = "SPDX-License" + "-Identifier"


def _stated(file: str, key: str) -> set[str]:
    return set(re.findall(rf'^{key} = "(.*)"$', (_ROOT / file).read_text(), re.M))


def test_every_licence_that_is_named_is_there_and_no_other():
    named = _stated("REUSE.toml", _TAG)
    assert {path.stem for path in (_ROOT / "LICENSES").iterdir()} == named
    assert _stated("pyproject.toml", "license") <= named


def test_the_licence_of_the_package_is_the_one_it_states():
    (stated,) = _stated("pyproject.toml", "license")
    assert (_ROOT / "LICENSES" / f"{stated}.txt").read_bytes() == (_ROOT / "LICENSE").read_bytes()


def test_no_file_states_another():
    files = [
        path for folder in _FOLDERS for path in (_ROOT / folder).rglob("*.*") if path.suffix not in (".pyc", ".so")
    ]
    assert not [path for path in files if path.is_file() and f"{_TAG}:".encode() in path.read_bytes()]
