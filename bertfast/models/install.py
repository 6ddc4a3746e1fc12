"""Accelerate every BERT of a process, whoever made it, also those still to be made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bertfast.models.bert import BERT, POOLED_HEADS, installed_forward, reads_pooled_only


def install() -> None:
    """Accelerate every BERT of this process, whoever made it, also those still to be made. Idempotent.

    Where somebody has replaced ``BertModel.forward`` already, calls run what they put there, counted and explained.
    """
    for head in POOLED_HEADS:
        # What others made of a head may look at more than the pooled output.
        if head.is_own(head.current()):
            head.install(reads_pooled_only(head.own))
    BERT.install(installed_forward)


def uninstall() -> None:
    """Undo `install`. Models made by bertfast's own classes or by `accelerate` stay fast.

    Raises UninstallError, and changes nothing, if somebody replaced a ``forward`` since.
    """
    for forward in (BERT, *POOLED_HEADS):
        forward.check_uncovered()
    for forward in (BERT, *POOLED_HEADS):
        forward.uninstall()


def is_installed() -> bool:
    """Whether `install` is in force."""
    return BERT.layer is not None


@contextmanager
def installed() -> Iterator[None]:
    """`install` for the length of a ``with`` block, in all threads; if it was in force before, it stays so."""
    before = is_installed()
    install()
    try:
        yield
    finally:
        if not before:
            uninstall()
