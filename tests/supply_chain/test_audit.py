"""requirements/audit.py: what it prints, and how it ends, whatever pip-audit does."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

_FOLDER = Path(__file__).resolve().parents[2] / "requirements"
_NOBODY = "Traceback ...\nrequests.exceptions.ConnectionError: HTTPSConnectionPool(host='pypi.org', port=443)"
_VULNERABLE = {"name": "a", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"]}]}
_CLEAN = {"name": "b", "version": "1", "vulns": []}
_UNKNOWN = {"name": "c", "skip_reason": "not found"}


@pytest.fixture
def run_audit(monkeypatch, capsys):
    """audit.main over two rounds, a and b and c, then a: each answered by packages, or by words on stderr."""
    monkeypatch.syspath_prepend(str(_FOLDER))
    import audit

    monkeypatch.delitem(audit.sys.modules, "audit")
    monkeypatch.setattr(audit, "pinned", lambda: {"a": ["1", "2"], "b": ["1"], "c": ["1"]})

    def run(*answers: list[dict] | str) -> tuple[int, str]:
        turns = iter(answers)

        def answered(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
            answer = next(turns)
            if isinstance(answer, str):
                return subprocess.CompletedProcess(command, 1, "", answer)
            Path(command[command.index("--output") + 1]).write_text(json.dumps({"dependencies": answer}))
            return subprocess.CompletedProcess(command, 0, "", "")

        monkeypatch.setattr(audit.subprocess, "run", answered)
        return audit.main(), capsys.readouterr().out

    return run


def test_nothing_is_known(run_audit):
    rc, said = run_audit([{**_CLEAN, "name": "a"}, _CLEAN, _UNKNOWN], [{**_CLEAN, "name": "a"}])
    assert rc == 0
    assert said == "not known to the service: c\n3 of 4 pinned versions asked about: 0 known vulnerabilities\n"


def test_a_vulnerability_fails(run_audit):
    rc, said = run_audit([_VULNERABLE, _CLEAN, _CLEAN], [_CLEAN])
    assert rc == 1
    assert "a 1: PYSEC-1, fixed in 2\n" in said


@pytest.mark.parametrize("later", [_NOBODY, "KeyError: 'vulns'"])
def test_what_an_earlier_round_found_is_kept(run_audit, later):
    rc, said = run_audit([_VULNERABLE, _CLEAN, _CLEAN], later)
    assert rc == 1
    assert "a 1: PYSEC-1" in said
    assert "after 3 of 4 pinned versions" in said


@pytest.mark.parametrize(
    "said",
    [
        _NOBODY,
        "ERROR:pip_audit._cli:Could not connect to PyPI's vulnerability feed\nTip: your network may be blocking this",
        "requests.exceptions.ProxyError: HTTPSConnectionPool",
    ],
)
def test_who_reaches_nobody_skips(run_audit, said):
    rc, printed = run_audit(said)
    assert rc == 0
    assert "SKIPPED: make audit: nobody could be asked, after 0 of 4" in printed


@pytest.mark.parametrize("said", ["", "No module named pip_audit", "ValueError: requests.exceptions.ConnectionError"])
def test_any_other_failure_is_an_error(run_audit, said):
    rc, printed = run_audit(said)
    assert rc == 1
    assert "error: make audit: pip-audit failed, after 0 of 4" in printed


def test_a_service_that_knows_nothing_skips(run_audit):
    rc, printed = run_audit([_UNKNOWN] * 3, [_UNKNOWN])
    assert (rc, printed) == (0, "SKIPPED: make audit: the service knows none of 4 packages\n")
