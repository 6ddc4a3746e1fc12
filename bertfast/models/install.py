"""Accelerate every BERT of a process, whoever made it, also those still to be made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bertfast import engines
from bertfast.changing import CHANGING
from bertfast.errors import UninstallError
from bertfast.models.bert import BERT, POOLED_HEADS, BertModel, installed_forward, reads_pooled_only
from bertfast.reporting import logger

#: Who wants bertfast installed: blocks that are open, and `install`.
_wanted_by: set[object] = set()
_FOR_GOOD = "install"


def install() -> None:
    """Accelerate every BERT of this process, whoever made it, also those still to be made. Idempotent.

    Where somebody has replaced ``BertModel.forward`` already, calls run what they put there, counted and explained.
    Inside of an `installed` block it is for good, too.
    """
    _install_for(_FOR_GOOD)


def uninstall() -> None:
    """Undo `install`, and end every `installed` block. Models made by bertfast's own classes or by `accelerate` stay
    fast; all others are as if it had never been.

    Raises UninstallError, and changes nothing, if somebody replaced a ``forward`` since.
    """
    with CHANGING:
        _take_out()
        _wanted_by.clear()


def is_installed() -> bool:
    """Whether `install` is in force, or an `installed` block."""
    return BERT.layer is not None


@contextmanager
def installed() -> Iterator[None]:
    """`install` for the length of a ``with`` block, in all threads; if it was in force before, it stays so.

    Blocks may overlap in any order, in threads and in waiting generators: the last one to end uninstalls. `install`
    and `uninstall` inside of a block are for good. Where `uninstall` would raise UninstallError, so does the end of the
    block; but an exception of the block's own goes first, and has it as a note, and in the log.
    """
    block = object()
    try:
        _install_for(block)
        yield
    except BaseException as error:
        _end_after(error, block)
        raise
    try:
        _end(block)
    except UninstallError:
        raise
    except BaseException:  # an interrupt before it began
        _end(block)
        raise


def _install_for(who: object) -> None:
    with CHANGING:
        # First: an interrupt in the middle leaves what the end of the block, or `uninstall`, undoes.
        _wanted_by.add(who)
        for head in POOLED_HEADS:
            # What others made of a head may look at more than the pooled output.
            if head.is_own(head.current()):
                head.install(reads_pooled_only(head.own))
        BERT.install(installed_forward)


def _end(block: object) -> None:
    with CHANGING:
        if block not in _wanted_by:
            # Somebody has called `uninstall`.
            return
        try:
            _take_out_without(block)
        except UninstallError:
            raise
        except BaseException:  # an interrupt: nobody asks for this block again
            _take_out_without(block)
            raise


def _take_out_without(block: object) -> None:
    """Forget a block, and take bertfast out if it was the last."""
    _wanted_by.discard(block)
    if not _wanted_by:
        _take_out()


def _end_after(error: BaseException, block: object) -> None:
    """End a block that ends by an error, which nothing here may hide."""
    try:
        _end(block)
    except UninstallError as reason:
        message = f"bertfast: still installed at the end of a block that raised {type(error).__name__}: {reason}"
        logger.error(message)
        # Python 3.10 has no notes.
        if hasattr(error, "add_note"):
            error.add_note(message)


def _take_out() -> None:
    for forward in (BERT, *POOLED_HEADS):
        forward.check_uncovered()
    for forward in (BERT, *POOLED_HEADS):
        forward.uninstall()
    engines.detach_all_but(BertModel)
