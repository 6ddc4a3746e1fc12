"""bertfast/binary.py: where a compiled extension is looked for."""

from __future__ import annotations

from build.conftest import run_python

# As setuptools' finder of an editable installation: it maps the package to its checkout, after sys.path was asked.
_ASK = """
import importlib.util
import sys
from importlib.machinery import PathFinder

class Editable:
    def find_spec(name, path=None, target=None):
        if name.startswith("bertfast."):
            return PathFinder.find_spec(name, ["checkout/bertfast"])

sys.meta_path.append(Editable)
import bertfast
from bertfast.binary import Binary, load

def ask():
    loaded = load(Binary("bertfast._toy", "toys", "make"))
    print(loaded.module is not None, loaded.reason)

assert importlib.util.find_spec("bertfast._toy") is not None
ask()
bertfast.__path__.append("checkout/bertfast")
ask()
"""


def test_by_the_path_of_the_package_alone(without_extension):
    """Not what an editable installation of another checkout would serve; but a folder that was appended."""
    checkout = without_extension / "checkout" / "bertfast"
    checkout.mkdir(parents=True)
    version = "from bertfast._version import __version__"
    (checkout / "_toy.py").write_text(f"{version}\ndef build_info():\n    return {{'bertfast': __version__}}\n")
    done = run_python(_ASK, without_extension)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "False bertfast was installed without its toys; build it in bertfast's source directory (docs/building.md): "
        "make",
        "True None",
    ]
