"""A process that forks after a forward, and its children: both go on computing, whoever computes meanwhile."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import bertfast
from bertfast import reporting
from bertfast.changing import CHANGING

pytestmark = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods() or sys.platform != "linux", reason="needs fork on Linux"
)

# Torch's threads are this process's, so a test that needs several has a process of its own.
_PREPARE = """
import os, sys, threading, warnings
warnings.simplefilter("ignore")
import torch, transformers, bertfast
torch.manual_seed(0)
torch.set_num_threads(2)
config = transformers.BertConfig(
    vocab_size=97, hidden_size=128, num_hidden_layers=2, num_attention_heads=2, intermediate_size=512
)
precision = sys.argv[1]
model = bertfast.BertModel(config).eval()
bertfast.accelerate(model, precision=precision, keep_original=precision == "float32", on_fallback="raise")
ids = torch.randint(1, 97, (16, 128))

def infer():
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state

def in_child(check):
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if check() else 3)
        except BaseException as error:
            print(repr(error), flush=True)
        os._exit(4)
    return pid

def wait(pid):
    status = os.waitpid(pid, 0)[1]
    assert status == 0, f"status {status}"

expected = infer()
same = lambda: torch.equal(infer(), expected)
assert same()
"""


def _run(code: str, precision: str) -> None:
    root = Path(bertfast.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    # In a session of its own, so that children that hang end with it.
    command = [sys.executable, "-c", _PREPARE + code, precision]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        output, _ = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        output, _ = process.communicate()
        pytest.fail(f"it hangs; so far:\n{output}")
    assert process.returncode == 0, output


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
def test_a_fork_after_a_forward(precision):
    """Stock torch hangs in the child: there are none of the threads that its OpenMP waits for."""
    _run("for _ in range(3):\n    wait(in_child(same))\n    assert same()\n", precision)


def test_forks_of_forks_and_from_other_threads():
    _run(
        "wait(in_child(lambda: (wait(in_child(same)), same())[1]))\n"
        "seen = []\n"
        "def work():\n"
        "    assert same()\n"
        "    wait(in_child(same))\n"
        "    seen.append(same())\n"
        "threads = [threading.Thread(target=work) for _ in range(3)]\n"
        "[thread.start() for thread in threads]; [thread.join() for thread in threads]\n"
        "assert seen == [True] * 3\n",
        "float32",
    )


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_workers_of_a_data_loader_and_of_a_pool(precision):
    """They get the model by the fork."""
    _run(
        "import multiprocessing\n"
        "class Texts(torch.utils.data.Dataset):\n"
        "    def __len__(self):\n"
        "        return 4\n"
        "    def __getitem__(self, index):\n"
        "        return torch.equal(infer(), infer())\n"
        "loader = torch.utils.data.DataLoader(Texts(), num_workers=2, multiprocessing_context='fork')\n"
        "assert [bool(batch) for batch in loader] == [True] * 4\n"
        "def task(index):\n"
        "    return same()\n"
        "with multiprocessing.get_context('fork').Pool(2) as pool:\n"
        "    assert pool.map(task, range(4)) == [True] * 4\n"
        "assert same()\n",
        precision,
    )


def _fork_while(hold, release, check) -> int:
    """Fork while another thread is between ``hold`` and ``release``; the status of a child that runs ``check``."""
    held, done = threading.Event(), threading.Event()

    def other() -> None:
        hold()
        held.set()
        done.wait(0.2)
        release()

    thread = threading.Thread(target=other)
    thread.start()
    assert held.wait(30)
    pid = os.fork()
    if pid == 0:
        check()
        os._exit(0)
    done.set()
    thread.join()
    for _ in range(300):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return status
        time.sleep(0.1)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return -1


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("lock", [CHANGING, reporting._lock], ids=["models", "counts"])
def test_a_lock_that_another_thread_holds_is_free_in_the_child(lock):
    def use() -> None:
        with CHANGING:
            reporting.stats()

    assert _fork_while(lock.acquire, lock.release, use) == 0
    use()
