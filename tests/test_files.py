"""Files are whole or as they were, and trying one tells what writing it would."""

from __future__ import annotations

import os
import resource
import signal
import stat
from contextlib import contextmanager

import pytest

from bertfast.files import try_file, try_folder, whole_file


def _write(path, text="new"):
    with whole_file(path) as partial:
        partial.write_text(text)


# No fixture: pytest, whose own output may be a file, would report the test before it ends.
@contextmanager
def _full_disk():
    """No file may grow by a byte, as on a full disk; empty ones can still be made."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def _half(path, ended):
    path.write_text("half")
    raise ended


def _names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_file_is_written_with_its_folders(tmp_path):
    _write(tmp_path / "a" / "b.json")
    assert (tmp_path / "a" / "b.json").read_text() == "new"
    assert _names(tmp_path) == ["a", "a/b.json"]


@pytest.mark.parametrize("ended", [OSError("full"), KeyboardInterrupt("full")], ids=repr)
def test_what_was_there_stays_when_writing_fails(tmp_path, ended):
    (tmp_path / "a.json").write_text("old")
    with pytest.raises(type(ended), match="full"), whole_file(tmp_path / "a.json") as partial:
        _half(partial, ended)
    assert (tmp_path / "a.json").read_text() == "old"
    assert _names(tmp_path) == ["a.json"]


def test_a_link_stays_one(tmp_path):
    (tmp_path / "link").symlink_to("there")
    _write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there").read_text() == "new"


def test_permissions_are_those_of_any_new_file(tmp_path):
    before = os.umask(0o027)
    try:
        _write(tmp_path / "a.json")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == 0o640


def test_no_other_file_is_touched_and_two_do_not_meet(tmp_path):
    (tmp_path / "a.partial").write_text("mine")
    with whole_file(tmp_path / "a.json") as one, whole_file(tmp_path / "a.txt") as two:
        one.write_text("1")
        two.write_text("2")
    assert [(tmp_path / name).read_text() for name in ("a.partial", "a.json", "a.txt")] == ["mine", "1", "2"]


def test_the_longest_name_can_be_written(tmp_path):
    name = "n" * os.pathconf(tmp_path, "PC_NAME_MAX")
    try_file(tmp_path / name)
    _write(tmp_path / name)
    assert _names(tmp_path) == [name]


def test_trying_leaves_nothing(tmp_path):
    (tmp_path / "a").write_text("old")
    for path in (tmp_path / "a", tmp_path / "b" / "c", tmp_path / "d"):
        try_file(path)
    try_folder(tmp_path)
    try_folder(tmp_path / "e" / "f")
    assert _names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "old"


_LONG = "n" * 256


@pytest.fixture
def place(tmp_path):
    (tmp_path / "link").symlink_to("/proc/nosuch/a.json")
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    return tmp_path


@pytest.mark.parametrize("write", [try_file, _write])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("link", "No such file"),
        ("link/a", "No such file"),
        ("circle", "Too many levels"),
        ("circle/a", "Too many levels"),
        ("file/a", "Not a directory"),
        ("folder", "it is there and is no file"),
        ("/dev/null", "it is there and is no file"),
        (_LONG, "File name too long"),
        (f"new/{_LONG}", "File name too long"),
    ],
)
def test_what_cannot_be_written(place, write, name, message):
    with pytest.raises(OSError, match=message):
        write(place / name)
    assert set(_names(place)) <= {"link", "circle", "file", "folder", "new"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("link", "No such file"),
        ("circle/a", "Too many levels"),
        ("file", "Not a directory"),
        (_LONG, "File name too long"),
    ],
)
def test_a_folder_that_cannot_be_written(place, name, message):
    with pytest.raises(OSError, match=message):
        try_folder(place / name)


@pytest.mark.parametrize("write", [try_file, try_folder, _write])
def test_a_full_disk_is_told_and_nothing_stays(tmp_path, write):
    with pytest.raises(OSError, match="File too large"), _full_disk():
        write(tmp_path / "a")
    assert _names(tmp_path) == []
