"""What can be wrong with a kernel, and with what the interpreter knows."""

from __future__ import annotations


class Fault(Exception):
    """The kernel does what a GPU would punish, or leave undefined."""


class Unsupported(Exception):
    """PTX that the interpreter does not know."""
