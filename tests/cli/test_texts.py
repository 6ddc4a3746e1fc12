"""Files of texts, as they are and as they should not be."""

from __future__ import annotations

import io

import pytest

from bertfast.cli.errors import UsageError
from bertfast.cli.texts import Text, read_texts


@pytest.fixture
def write(tmp_path):
    def make(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return make


def test_a_text_a_line(write):
    found = read_texts(write("a.txt", "one two\r\n\n  \nz\u2028ä \n"))
    assert found.texts == (Text("one two"), Text("z\u2028ä"))
    assert found.source == "a.txt"


def test_json_lines_may_hold_pairs(write):
    found = read_texts(write("a.jsonl", '{"text": "a", "text_pair": "b", "id": 3}\n\n{"text": "c"}\n'))
    assert found.texts == (Text("a", "b"), Text("c"))


def test_the_first_of_them(write):
    assert read_texts(write("a.txt", "a\nb\nc\n"), 2).texts == (Text("a"), Text("b"))
    assert len(read_texts(None, 5).texts) == 5


def test_standard_input(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("a\nb\n"))
    assert read_texts("-").texts == (Text("a"), Text("b"))


def test_a_byte_order_mark_is_no_text(write, monkeypatch):
    assert read_texts(write("a.txt", b"\xef\xbb\xbfone\n")).texts == (Text("one"),)
    assert read_texts(write("a.jsonl", b'\xef\xbb\xbf{"text": "one"}\n')).texts == (Text("one"),)
    monkeypatch.setattr("sys.stdin", io.StringIO("\ufeffone\n"))
    assert read_texts("-").texts == (Text("one"),)


def test_the_ending_tells_the_format_in_capitals_too(write):
    assert read_texts(write("A.JSONL", '{"text": "one"}\n')).texts == (Text("one"),)
    assert read_texts(write("A", '{"text"}\n')).texts == (Text('{"text"}'),)


def test_the_first_line_of_standard_input_tells_json_lines(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO('\n{"text": "a", "text_pair": "b"}\n{"text": "c"}\n'))
    assert read_texts("-").texts == (Text("a", "b"), Text("c"))
    monkeypatch.setattr("sys.stdin", io.StringIO('17\n{"text": "c"}\n'))
    assert read_texts("-").texts == (Text("17"), Text('{"text": "c"}'))


def test_docstrings_stand_in():
    found = read_texts(None)
    assert len(set(found.texts)) == 128
    assert "docstrings" in found.source


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "\n \n", "a.txt: no texts in it; expected one a line"),
        ("a.txt", b"ok\n\xff\n", "a.txt: byte 3 is not UTF-8"),
        ("a.jsonl", '{"text": "a"}\n{"text": ', r"a.jsonl, line 2: not JSON .*; expected {"),
        (
            "a.json",
            '[{"text": "a"}]',
            "a.json: .json is no format of texts; expected .txt with one text a line, .jsonl",
        ),
        ("a.CSV", "id,text\n", "a.CSV: .csv is no format of texts"),
        ("a.jsonl", '["a"]', "a.jsonl, line 1: a JSON list; expected {"),
        ("a.jsonl", '{"txt": "a"}', "a.jsonl, line 1: text=None"),
        ("a.jsonl", '{"text": "a", "text_pair": 3}', "text_pair=3"),
    ],
)
def test_what_is_no_text_is_refused(write, name, content, message):
    with pytest.raises(UsageError, match=message):
        read_texts(write(name, content))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match=r"nosuch.txt: No such file or directory; expected a file"):
        read_texts(str(tmp_path / "nosuch.txt"))
