"""Where commands write: tried before anything is measured, with one rule for all."""

from __future__ import annotations

import pytest

from bertfast.cli import bench_run, verifying
from bertfast.cli.errors import UsageError
from bertfast.cli.outputs import check_file, check_folder
from cli.conftest import assert_one_line


def test_folders_are_made_and_nothing_else_is_left(tmp_path):
    check_file("--json", tmp_path / "a" / "b" / "found.json")
    check_folder("--plot", tmp_path / "c" / "d")
    check_file("--json", None)
    check_folder("--plot", None)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == ["a", "a/b", "c", "c/d"]


def test_a_file_that_is_there_stays_as_it_is(tmp_path):
    (tmp_path / "found.json").write_text("an hour's run")
    check_file("--json", tmp_path / "found.json")
    assert (tmp_path / "found.json").read_text() == "an hour's run"


@pytest.mark.parametrize(
    ("check", "name", "message"),
    [
        (check_file, "/proc/nosuch/a.json", "--x /proc/nosuch/a.json: .*; expected a file that can be written"),
        (check_folder, "/proc/nosuch", "--x /proc/nosuch: .*; expected a folder that can be written"),
        (check_folder, "file", "--x .*file: File exists; expected a folder"),
        (check_file, "file/a.json", "--x .*a.json: .*; expected a file that can be written"),
        (check_file, ".", "--x .*: it is no file; expected a name for one"),
        (check_file, "/dev/null", "--x /dev/null: it is no file"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, check, name, message):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=message):
        check("--x", tmp_path / name)


@pytest.mark.parametrize(
    "arguments",
    [
        ("bench", "bert-tiny", "--json", "/proc/nosuch/a.json"),
        ("bench", "bert-tiny", "--plot", "/proc/nosuch"),
        ("bench", "bert-tiny", "--cache", "/proc/nosuch"),
        ("verify", "nosuch", "--json", "/proc/nosuch/a.json"),
        ("kernels", "--plot", "/proc/nosuch/a.svg"),
    ],
)
def test_commands_try_before_they_measure(call, monkeypatch, arguments):
    for module, name in ((bench_run, "run"), (verifying, "compare")):
        monkeypatch.setattr(module, name, lambda *given, **named: pytest.fail("measured"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: name)
    done = call(*arguments)
    assert_one_line(done)
    assert f"{arguments[-2]} {arguments[-1]}: " in done.err
    assert "that can be written" in done.err
