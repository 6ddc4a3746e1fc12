"""Names of precisions and dtypes that a user types."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bertfast.cli.errors import UsageError
from bertfast.precision import PRECISIONS, usual_name

#: What ``--precision`` takes; left out, the dtype of the model decides.
NAMES = tuple(name for name in PRECISIONS if name is not None)


def check_precisions(
    given: Iterable[str], allowed: Sequence[str] = NAMES, where: str = "", dtypes: Sequence[str] = ()
) -> None:
    """Raise UsageError for the first name that is not allowed. where: of a device, to say so. dtypes: what the
    command's ``--dtype`` takes, if it has one.
    """
    for name in given:
        if name not in allowed:
            meant = usual_name(name)
            hint = f"; did you mean {meant}?" if meant in allowed else ""
            hint = hint or (f"; did you mean --dtype {meant}?" if meant in dtypes else "")
            raise UsageError(f"--precision {name}: expected one of {', '.join(allowed)}{where}{hint}")


def check_dtype(name: str, allowed: Sequence[str]) -> None:
    """Raise UsageError for a ``--dtype`` that is not allowed."""
    if name not in allowed:
        meant = usual_name(name)
        hint = f"; did you mean {meant}?" if meant in allowed else ""
        hint = hint or (f"; did you mean --precision {meant}?" if meant in NAMES else "")
        raise UsageError(f"--dtype {name}: expected one of {', '.join(allowed)}{hint}")
