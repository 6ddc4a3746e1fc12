"""What a user gave that a command cannot work with."""

from __future__ import annotations


class UsageError(Exception):
    """Ends the command with exit code 2 and this one line: what was given, what is allowed, what to do."""
