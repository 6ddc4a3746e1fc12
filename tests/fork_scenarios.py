"""What processes that fork do, run by ``test_forks.py`` in a process whose torch has several threads.

Prints a line for each scenario and model: ``SCENARIO|MODEL|`` and ``ok``, what it lacks, or what went wrong.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import transformers

import bertfast
from bertfast.linear import missing

MODELS = ("float32", "float32 by oneDNN", "bfloat16", "int8")
_WAIT_S = 40


class Served:
    """A model, and what it gives."""

    def __init__(self, name: str) -> None:
        config = transformers.BertConfig(
            vocab_size=97, hidden_size=128, num_hidden_layers=2, num_attention_heads=2, intermediate_size=512
        )
        torch.manual_seed(0)
        os.environ["BERTFAST_CPU_LINEAR"] = "onednn" if name.endswith("oneDNN") else "auto"
        precision = name.split()[0]
        self.model = bertfast.accelerate(
            bertfast.BertModel(config).eval(),
            precision=precision,
            keep_original=precision == "float32",
            on_fallback="raise",
        )
        self.ids = torch.randint(1, 97, (16, 128))
        self.expected = self.infer(self.ids)

    def infer(self, ids: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return self.model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state

    def same(self) -> bool:
        return torch.equal(self.infer(self.ids), self.expected)


def _fork(check: Callable[[], bool]) -> None:
    """Raises AssertionError for a child whose check fails, raises, or takes too long: it is ended then."""
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if check() else 3)
        except BaseException as error:
            print(repr(error), flush=True)
        os._exit(4)
    end = time.monotonic() + _WAIT_S
    while time.monotonic() < end:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            assert status == 0, f"a child ended with status {status}"
            return
        time.sleep(0.002)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    raise AssertionError("a child hangs")


def forks_of_forks(served: Served) -> None:
    def check() -> bool:
        _fork(served.same)
        return served.same()

    _fork(check)


def from_other_threads(served: Served) -> None:
    seen = []

    def work() -> None:
        assert served.same()
        _fork(served.same)
        seen.append(served.same())

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [True] * 3


class _Texts(torch.utils.data.Dataset):  # type: ignore[type-arg]
    def __init__(self, served: Served) -> None:
        self._served = served

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> bool:
        return self._served.same()


def workers_of_a_data_loader(served: Served) -> None:
    loader = torch.utils.data.DataLoader(_Texts(served), num_workers=2, multiprocessing_context="fork", timeout=_WAIT_S)
    assert [bool(batch) for batch in loader] == [True] * 4
    assert served.same()


_served: Served


def _task(index: int) -> bool:
    return _served.same()


def workers_of_a_pool(served: Served) -> None:
    global _served
    _served = served
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map_async(_task, range(4)).get(_WAIT_S) == [True] * 4
    assert served.same()


@contextmanager
def _computing(served: Served) -> Iterator[None]:
    """Two threads compute all the time, mostly in shapes that were not met before."""
    done, errors = threading.Event(), list[BaseException]()

    def work(seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        try:
            while not done.is_set():
                rows, columns = torch.randint(1, 40, (2,), generator=generator).tolist()
                served.infer(torch.randint(1, 97, (rows, columns), generator=generator))
                assert served.same()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,), daemon=True) for seed in range(2)]
    for thread in threads:
        thread.start()
    yield
    done.set()
    for thread in threads:
        thread.join(_WAIT_S)
    assert not any(thread.is_alive() for thread in threads), "the parent hangs"
    assert not errors, errors


def while_others_compute(served: Served) -> None:
    with _computing(served):
        for _ in range(int(os.environ.get("BERTFAST_FORKS", "8"))):
            _fork(served.same)


# What is a matter of who forks, and not of what was computed, is tried with one of the models.
SCENARIOS: dict[Callable[[Served], None], tuple[str, ...]] = {
    forks_of_forks: MODELS,
    from_other_threads: MODELS,
    workers_of_a_data_loader: MODELS[:1],
    workers_of_a_pool: MODELS[:1],
    while_others_compute: MODELS,
}


def _outcome(scenario: Callable[[Served], None], served: Served) -> str:
    try:
        scenario(served)
    except Exception as error:
        return repr(error).replace("\n", " ")
    return "ok"


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(2)
    for name in MODELS:
        lacks = None if name.startswith("float32") else missing(name)
        served = None if lacks else Served(name)
        for scenario in (scenario for scenario, models in SCENARIOS.items() if name in models):
            outcome = f"lacks: {lacks}" if served is None else _outcome(scenario, served)
            print(f"{scenario.__name__}|{name}|{outcome}", flush=True)


if __name__ == "__main__":
    main()
