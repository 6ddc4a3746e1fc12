"""Where commands write: tried before anything is measured, with one rule for all, and told where it fails at last."""

from __future__ import annotations

import os

import pytest

from bertfast.cli import bench_run, verifying
from bertfast.cli.errors import UsageError
from bertfast.cli.outputs import check_outputs
from cli.conftest import assert_one_line


def test_nothing_is_left(tmp_path):
    check_outputs({"--json": tmp_path / "a" / "b" / "found.json", "--x": None}, {"--plot": tmp_path / "c", "--y": None})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("what", "name", "message"),
    [
        ("file", "/proc/nosuch/a.json", "--x /proc/nosuch/a.json: .*; expected a file that can be written: name"),
        ("folder", "/proc/nosuch", "--x /proc/nosuch: .*; expected a folder that can be written: name another"),
        ("folder", "file", "--x .*file: Not a directory; expected a folder"),
        ("file", "circle", "--x .*circle: Too many levels of symbolic links; expected a file"),
        ("file", ".", "--x .*: it is there and is no file; expected a file"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, what, name, message):
    (tmp_path / "file").write_text("")
    (tmp_path / "circle").symlink_to("circle")
    given = {"--x": tmp_path / name}
    with pytest.raises(UsageError, match=message):
        check_outputs(*(({}, given) if what == "folder" else (given,)))


@pytest.mark.parametrize("plot", ["a", "a/b", "link", "link/../a"])
def test_a_file_is_not_also_a_folder(tmp_path, plot):
    (tmp_path / "link").symlink_to("a")
    with pytest.raises(UsageError, match=r"--json .*a and --plot .*: the first is to be a file; expected a name for"):
        check_outputs({"--json": tmp_path / "a"}, {"--plot": tmp_path / plot})


def test_a_file_may_be_in_a_folder(tmp_path):
    check_outputs({"--json": tmp_path / "a" / "found.json"}, {"--plot": tmp_path / "a", "--cache": tmp_path / "a"})


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


@pytest.mark.parametrize("arguments", [("bench", "--json"), ("verify", "nosuch", "--json"), ("kernels", "--plot")])
@pytest.mark.parametrize("name", ["", "new/", "new/."])
def test_a_folder_s_name_is_no_file_s(call, tmp_path, monkeypatch, arguments, name):
    monkeypatch.chdir(tmp_path)
    done = call(*arguments, name)
    assert_one_line(done)
    assert f"expected a name for a file, got {name!r}" in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_model_leaves_no_folder(call, tmp_path):
    assert_one_line(call("verify", tmp_path / "nosuch", "--json", tmp_path / "made" / "a.json"))
    assert list(tmp_path.iterdir()) == []


def test_what_was_found_is_told_though_it_cannot_be_stored(call, tmp_path, monkeypatch):
    """A file comes where its folder was to be; figures are written all the same."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: name)
    place = tmp_path / "place"

    def run(comparison, step):
        place.write_text("no folder any more")
        yield comparison.sections()[0], None

    monkeypatch.setattr(bench_run, "run", run)
    done = call("bench", "bert-tiny", "--json", place / "a.json", "--plot", tmp_path / "figures")
    assert done.code == 2
    assert bench_run.LEGEND in done.out
    assert "no figure of latency" in done.out
    assert done.err.startswith(f"bertfast bench: error: --json {place / 'a.json'}: Not a directory; expected a file")
    assert len(done.err.splitlines()) == 1


def test_what_is_stored_late_is_whole(call, tmp_path, monkeypatch):
    """A disk that is full for a while ends no run."""
    failures = [OSError(28, os.strerror(28))]
    write = bench_run.write_json

    def write_json(path, content):
        if failures:
            raise failures.pop()
        write(path, content)

    monkeypatch.setattr(bench_run, "run", lambda comparison, step: iter([(comparison.sections()[0], None)]))
    monkeypatch.setattr(bench_run, "write_json", write_json)
    assert call("bench", "bert-tiny", "--json", tmp_path / "a.json").err == ""
    assert (tmp_path / "a.json").exists()
