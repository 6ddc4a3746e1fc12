"""A process that was forked goes on with models: what has to be done beforehand, once, by who computes on a CPU."""

from __future__ import annotations

import ctypes
import os
from functools import cache

import torch

# Of omp_pause_resource_all: omp_pause_hard.
_HARD = 2


@cache
def keep_threads_forkable() -> None:
    """From now on, end the forking thread's OpenMP threads before each fork: both processes start others when needed.

    A child has none of its parent's threads, and GNU's OpenMP would wait for them for ever, in stock torch too. Threads
    of LLVM's and Intel's are cared for by those.
    """
    openmp = ctypes.CDLL(torch._C.__file__)
    is_gnu = hasattr(openmp, "GOMP_parallel") and not hasattr(openmp, "__kmpc_fork_call")
    if is_gnu and hasattr(openmp, "omp_pause_resource_all") and hasattr(os, "register_at_fork"):
        os.register_at_fork(before=lambda: openmp.omp_pause_resource_all(_HARD))
