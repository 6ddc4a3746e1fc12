"""Many Python threads that end after a forward: whether this process keeps the memory or the threads of any.

Run by ``test_memory.py`` in a process of its own. Prints how many threads there were, and how much memory grew.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
from soak import CASES, LONGEST, make_batch, make_model, resident_bytes


def _threads() -> int:
    """When those of OpenMP that have nobody left have ended: a little later."""
    counts = [len(list(Path("/proc/self/task").iterdir())) for _ in range(20) if time.sleep(0.05) is None]
    return min(counts)


def main(case: str, count: int) -> None:
    torch.set_num_threads(2)
    model, batch, failed = make_model(CASES[case]), make_batch([LONGEST] * 4, "right", 0), []

    def forward() -> None:
        with torch.no_grad():
            try:
                model(**batch)
            except BaseException as error:
                failed.append(error)

    def many(number: int) -> None:
        for _ in range(number):
            # Four at a time.
            threads = [threading.Thread(target=forward) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    many(count // 16)
    resident, threads = resident_bytes(), _threads()
    many(count * 3 // 16)
    assert not failed, failed
    print(f"{resident_bytes() / resident:.4f} {_threads() - threads}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
