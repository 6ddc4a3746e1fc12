"""A stand-in for CUDA graphs: what it records, it runs again, into the memory of the first result."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class FakeRecording:
    run: Callable[[], Tensor]
    result: Tensor
    num_bytes: int
    replays: int = 0

    def replay(self) -> Tensor:
        self.replays += 1
        return self.result.copy_(self.run())


@dataclass
class FakeRecorder:
    """num_bytes: of each recording. fails: what recording one raises."""

    num_bytes: int = 1000
    fails: Exception | None = None
    made: list[FakeRecording] = field(default_factory=list)
    inside: int = 0
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def record(self, run: Callable[[], Tensor]) -> FakeRecording:
        assert self.inside > 0, "recorded while another thread may replay"
        run()  # as CudaRecorder does, to warm up
        if self.fails is not None:
            raise self.fails
        self.made.append(FakeRecording(run, run(), self.num_bytes))
        return self.made[-1]

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        with self._lock:
            self.inside += 1
            assert self.inside == 1, "two replays at once"
            try:
                yield
            finally:
                self.inside -= 1
