"""The one lock of what changes models."""

from __future__ import annotations

import os
import threading

#: Held while engines, classes, forwards or prepared weights are exchanged, so that nobody sees or undoes half of it.
#: There is no second lock: the garbage collector may end an `accelerated` block, which takes this one, anywhere.
CHANGING = threading.RLock()

if hasattr(os, "register_at_fork"):
    # A child has only the thread that forked: what another one holds or has half changed would stay so there.
    os.register_at_fork(before=CHANGING.acquire, after_in_parent=CHANGING.release, after_in_child=CHANGING.release)
