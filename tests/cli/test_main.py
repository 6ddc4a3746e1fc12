"""The command line itself: its commands, its exit codes, what it imports."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from bertfast import __version__
from bertfast.cli import main as cli
from bertfast.cli.errors import UsageError
from bertfast.cli.registry import COMMANDS, Command
from bertfast.errors import PrecisionError
from cli.conftest import assert_one_line


class _Failing:
    """Stands in for the module of a command."""

    def __init__(self, error):
        self.error = error

    def add_arguments(self, parser):
        pass

    def run(self, arguments):
        raise self.error


@pytest.fixture
def failing(monkeypatch):
    def plant(error):
        monkeypatch.setattr(Command, "load", lambda self: _Failing(error))

    return plant


def test_the_version(process):
    done = process("--version")
    assert (done.code, done.out) == (0, f"bertfast {__version__}\n")


def test_the_console_script_is_this_command():
    text = (Path(__file__).resolve().parents[2] / "pyproject.toml").read_text()
    module, name = re.search(r'^\[project.scripts\]\nbertfast = "([\w.]+):(\w+)"$', text, re.MULTILINE).groups()
    assert getattr(importlib.import_module(module), name) is cli.main


def test_help_names_every_command(call):
    done = call("--help")
    assert done.code == 0
    assert all(f"    {command.name}" in done.out for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_explains_itself(call, command):
    done = call(command.name, "--help")
    assert done.code == 0
    assert command.load().__doc__.splitlines()[0] in done.out


def test_help_imports_no_torch():
    code = (
        "import sys; from bertfast.cli.main import main; main(['--help'])\n"
        "print({'torch', 'transformers', 'numpy'} & sys.modules.keys(), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr.strip() == "set()"


@pytest.mark.parametrize("arguments", [(), ("nosuch",), ("env", "--nosuch"), ("env", "--js")])
def test_what_is_no_command_is_one_line(call, arguments):
    assert_one_line(call(*arguments))


@pytest.mark.parametrize("error", [UsageError("no such\nfile"), PrecisionError("no such\nfile")])
def test_errors_of_users_are_one_line(call, failing, error):
    failing(error)
    done = call("env")
    assert_one_line(done)
    assert done.err == "bertfast env: error: no such file\n"


def test_a_defect_keeps_its_traceback(call, failing):
    failing(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        call("env")


def test_an_interruption_is_no_traceback(call, failing):
    failing(KeyboardInterrupt())
    assert call("env").code == cli.INTERRUPTED


def test_a_reader_that_stops_early_is_no_error():
    bertfast = f"{shlex.quote(sys.executable)} -m bertfast"
    command = f"{bertfast} --version | true; {bertfast} env --json | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=120)
    assert done.stdout == "{\n"
    assert done.stderr == ""
