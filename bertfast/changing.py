"""The one lock of what changes models."""

from __future__ import annotations

import threading

#: Held while engines, classes, forwards or prepared weights are exchanged, so that nobody sees or undoes half of it.
#: There is no second lock: the garbage collector may end an `accelerated` block, which takes this one, anywhere.
CHANGING = threading.RLock()
