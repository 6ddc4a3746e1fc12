"""What the tests in this folder run on: a CUDA device, or the CPU in its place so that their own code is exercised."""

from __future__ import annotations

import contextlib
import gc
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch

_VARIABLE = "BERTFAST_GPU_TESTS"
_SYNC_WARNING = "called a synchronizing CUDA operation"


class Target(Protocol):
    """device: of models and inputs. real: whether it is a GPU."""

    device: torch.device
    real: bool

    def finish(self) -> None:
        """Wait for all that was launched. Raises what CUDA has to say of it."""

    def memory_bytes(self) -> int | None:
        """Memory in use by tensors and by the library; None where nobody counts."""

    def stream(self) -> contextlib.AbstractContextManager[Any]:
        """A stream of its own for what is launched inside; inside and outside wait for each other's work."""

    def count_waits(self) -> contextlib.AbstractContextManager[list[str]]:
        """Collects one line for each time that the host waits for the device inside."""


@dataclass(frozen=True)
class CudaTarget:
    device: torch.device
    real: bool = True

    def finish(self) -> None:
        torch.cuda.synchronize(self.device)

    def memory_bytes(self) -> int | None:
        self.finish()
        gc.collect()
        torch.cuda.empty_cache()
        free, total = torch.cuda.mem_get_info(self.device)
        return total - free

    @contextlib.contextmanager
    def stream(self) -> Iterator[None]:
        outside = torch.cuda.current_stream(self.device)
        inside = torch.cuda.Stream(self.device)
        inside.wait_stream(outside)
        with torch.cuda.stream(inside):
            yield
        outside.wait_stream(inside)

    @contextlib.contextmanager
    def count_waits(self) -> Iterator[list[str]]:
        waits: list[str] = []
        before = torch.cuda.get_sync_debug_mode()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                yield waits
            finally:
                torch.cuda.set_sync_debug_mode(before)
        waits += [f"{w.filename}:{w.lineno}" for w in caught if _SYNC_WARNING in str(w.message)]


@dataclass(frozen=True)
class CpuTarget:
    """The CPU has no streams, and nobody waits for it."""

    device: torch.device
    real: bool = False

    def finish(self) -> None:
        pass

    def memory_bytes(self) -> int | None:
        return None

    def stream(self) -> contextlib.AbstractContextManager[Any]:
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def count_waits(self) -> Iterator[list[str]]:
        yield []


def choose_target() -> Target | str:
    """By ``BERTFAST_GPU_TESTS``: ``cuda`` (the default), or ``cpu``; or why there is none. Raises ValueError."""
    wanted = os.environ.get(_VARIABLE, "") or "cuda"
    if wanted == "cpu":
        return CpuTarget(torch.device("cpu"))
    if wanted != "cuda":
        raise ValueError(f"{_VARIABLE}={wanted!r}: expected cuda or cpu")
    if not torch.cuda.is_available():
        return f"no CUDA device that torch {torch.__version__} can use; {_VARIABLE}=cpu exercises the tests on a CPU"
    return CudaTarget(torch.device("cuda", 0))
