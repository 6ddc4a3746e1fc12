"""Records name the command that made them, and are whole."""

from __future__ import annotations

import json

import pytest

from bertfast.environment.record import command, write_json


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (
            ["/srv/jane/bin/python3", "benchmarks/compare_cpu.py", "--rounds", "3"],
            "benchmarks/compare_cpu.py --rounds 3",
        ),
        (["python", "-m", "bertfast", "bench", "/srv/jane/my model"], "-m bertfast bench '.../my model'"),
        (["python", "-m", "bertfast", "bench", "/srv/a client's/model"], "-m bertfast bench .../model"),
        (["python", "-m", "pytest", "-k", "a and b"], "-m pytest -k 'a and b'"),
    ],
)
def test_a_command_is_one_to_type(argv, expected):
    assert command(argv) == f"python {expected}"


def test_the_installed_program_is_its_own_command():
    assert command(["/srv/x/bin/python", "/srv/x/bin/bertfast", "bench", "bert-tiny"]) == "bertfast bench bert-tiny"


def test_json_is_whole_or_not_there(tmp_path):
    write_json(tmp_path / "a" / "b.json", {"x": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a" / "b.json", {"x": object()})
    written = json.loads((tmp_path / "a" / "b.json").read_text())
    assert "pytest" in written.pop("command")
    assert written == {"x": 1}
