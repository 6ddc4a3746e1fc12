"""One licence for every file, as REUSE reads it. (`reuse` has no wheel for some versions of Python.)"""

from __future__ import annotations

import re
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_FOLDERS = ("bertfast", "benchmarks", "csrc", "docs", "examples", "native_build", "requirements", "tests")
# In two halves, for this file is read, too.
_TAG = "SPDX-License" + "-Identifier"


def test_the_licence_is_the_one_that_is_stated():
    assert [path.name for path in (_ROOT / "LICENSES").iterdir()] == ["Apache-2.0.txt"]
    assert (_ROOT / "LICENSES" / "Apache-2.0.txt").read_bytes() == (_ROOT / "LICENSE").read_bytes()
    assert 'license = "Apache-2.0"' in (_ROOT / "pyproject.toml").read_text()


def test_one_entry_speaks_for_all_files():
    text = (_ROOT / "REUSE.toml").read_text()
    entries = dict(re.findall(r'^([\w-]+) = "(.*)"$', text, re.M))
    assert text.count("[[annotations]]") == 1
    assert entries == {"path": "**", "SPDX-FileCopyrightText": "The bertfast contributors", _TAG: "Apache-2.0"}


def test_no_file_states_another():
    files = [
        path for folder in _FOLDERS for path in (_ROOT / folder).rglob("*.*") if path.suffix not in (".pyc", ".so")
    ]
    assert not [path for path in files if path.is_file() and f"{_TAG}:".encode() in path.read_bytes()]
