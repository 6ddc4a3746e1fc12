"""The driver's own decisions: which stages, how much time, what a failure does, what a program that hangs costs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest

from benchmarks.gpu import driver, measured, processes, tested
from benchmarks.gpu.budget import Deadline, allot
from benchmarks.gpu.environment import slug
from benchmarks.gpu.outcome import Run, failed, passed, skipped
from benchmarks.gpu.stages import STAGES, Stage, choose
from bertfast.tables import table


def test_stages_are_chosen_in_their_own_order():
    assert choose("") == list(STAGES)
    assert [stage.name for stage in choose("sanitize,build")] == ["build", "sanitize"]
    with pytest.raises(ValueError, match=r"expected some of build, parity, .*, got 'bench'"):
        choose("build,bench")


def test_nine_minutes_are_all_that_the_stages_share():
    assert sum(stage.share for stage in STAGES) == 540


def test_what_a_stage_leaves_falls_to_the_later_ones():
    assert allot(540, [110, 430]) == 110
    assert allot(530, [90, 340]) == pytest.approx(530 * 90 / 430)
    assert allot(-5, [1, 1]) == 0
    assert allot(100, [3]) == 100


def test_a_deadline_passes():
    assert not Deadline(60).passed()
    assert Deadline(0).passed()
    assert 59 < Deadline(60).left() <= 60


@pytest.fixture
def drive(tmp_path, monkeypatch):
    """``drive(name=function, ...)``: these stages instead of the real ones; the exit code and what was written."""

    def run(environment=None, dry=False, **stages):
        given = [Stage(name, "a stage", 1, function) for name, function in stages.items()]
        found = {"missing": None, "missing_packages": None, "gpu": "Some GPU", "nvcc": None, **(environment or {})}
        monkeypatch.setattr(driver, "find_environment", lambda: found)
        monkeypatch.setattr(driver, "choose", lambda names: given)
        code = driver.main(["--out", str(tmp_path / "out"), *(["--dry-run"] if dry else [])])
        written = tmp_path / "out" / "summary.json"
        return code, json.loads(written.read_text()) if written.exists() else None

    return run


_BARE = f"""
import sys
sys.path.insert(0, {str(processes.ROOT)!r})
import json
import benchmarks.gpu.driver
from benchmarks.gpu.environment import describe
print(json.dumps(describe()))
"""


def _breaks(given):
    raise OSError("no space left")


def test_a_failed_stage_stops_no_other(drive, capsys):
    code, written = drive(
        one=lambda run: passed("well", rows=3),
        two=_breaks,
        three=lambda run: failed("badly"),
        four=lambda run: skipped("x"),
    )
    assert code == 1
    assert [stage["status"] for stage in written["stages"]] == ["passed", "FAILED", "FAILED", "skipped"]
    assert written["stages"][0]["rows"] == 3
    assert written["environment"]["gpu"] == "Some GPU"
    output = capsys.readouterr().out
    assert "OSError: no space left" in output
    assert output.rstrip().endswith("FAILED: two, three")


def test_all_well(drive):
    assert drive(one=lambda run: passed("well"), two=lambda run: skipped("nothing to do"))[0] == 0


def test_no_gpu(drive, capsys):
    code, written = drive({"missing": "torch is a build without CUDA"}, one=_breaks)
    assert (code, written) == (2, None)
    assert "torch is a build without CUDA" in capsys.readouterr().out


def test_a_dry_run_needs_no_gpu(drive):
    assert drive({"missing": "no GPU"}, dry=True, one=lambda run: passed("well"))[0] == 0


def test_a_dry_run_needs_its_packages(drive, capsys):
    reason = "python3 has no torch"
    code, written = drive({"missing": reason, "missing_packages": reason}, dry=True, one=_breaks)
    assert (code, written) == (2, None)
    output = capsys.readouterr().out
    assert "python3 has no torch" in output
    assert "PYTHON=.venv/bin/python" in output


def test_a_python_without_torch(tmp_path):
    """A bare one, as in a fresh clone."""
    command = [sys.executable, "-I", "-S", "-c", _BARE]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["missing"] == found["missing_packages"] == f"{sys.executable} has no torch, transformers, numpy"


@pytest.mark.parametrize("arguments", [["--stages", "all"], ["--budget", "0"], ["--budget", "-3"]])
def test_wrong_arguments(arguments, capsys):
    with pytest.raises(SystemExit):
        driver.parse(arguments)
    assert "expected" in capsys.readouterr().err


def test_the_environment_is_asked_for_and_described():
    found = driver.find_environment()
    assert {"missing", "missing_packages", "nvcc", "python", "commit", "torch"} <= found.keys()


def test_a_gpus_folder():
    assert slug("NVIDIA H100 80GB HBM3") == "nvidia-h100-80gb-hbm3"
    assert slug("Tesla T4") == "tesla-t4"


# Programs.


def test_a_program_that_hangs_is_ended_with_all_it_started(tmp_path):
    code = (
        "import subprocess, sys, time\n"
        "print('begun', flush=True)\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "time.sleep(60)\n"
    )
    start = time.monotonic()
    done = processes.run([sys.executable, "-I", "-S", "-c", code], 5.0, tmp_path / "log", show=False)
    assert time.monotonic() - start < 30
    assert done.code is None
    assert not done.succeeded
    assert done.why.startswith("its time was up after ")
    assert done.output.startswith("begun\n")
    assert (tmp_path / "log").read_text() == done.output


def test_a_program_may_write_down_what_it_has(tmp_path):
    code = "import time\ntry:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    print('kept')\n"
    # Time enough to begin on a busy machine.
    command = [sys.executable, "-I", "-S", "-c", code]
    # As the driver does: tests that run in the background ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert processes.run(command, 5.0, tmp_path / "log", show=False).output == "kept\n"
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_program_that_fails_or_is_not_there(tmp_path, capsys):
    done = processes.run([sys.executable, "-c", "print('hello'); exit(3)"], 60, tmp_path / "log")
    assert (done.code, done.why, done.output) == (3, "exit status 3", "hello\n")
    assert capsys.readouterr().out == "hello\n"
    assert processes.run(["no-such-program"], 60, tmp_path / "log").code == 127


# Reading results.


@pytest.mark.parametrize(
    ("output", "counts"),
    [
        ("....\n12 passed, 3 skipped in 4.02s", {"passed": 12, "skipped": 3}),
        ("== 1 failed, 876 passed, 2 errors in 65.30s (0:01:05) ==", {"failed": 1, "passed": 876, "errors": 2}),
        ("no tests ran in 0.01s", {}),
        ("ImportError: torch", {}),
    ],
)
def test_pytests_last_line(output, counts):
    assert tested.count(output) == counts


def _written(rows=1, errors=()):
    return {"results": [{}] * rows, "errors": list(errors), "left_out": ["x", "y"]}


@pytest.mark.parametrize(
    ("written", "code", "status", "words"),
    [
        (_written(), 0, "passed", "1 rows, 2 left out"),
        (_written(), None, "passed", "its time was up"),
        (_written(), 1, "FAILED", "exit"),
        (_written(rows=0), 0, "FAILED", "0 rows"),
        (_written(errors=["attention: wrong"]), 1, "FAILED", "1 errors: attention: wrong"),
    ],
)
def test_what_was_measured_is_judged(written, code, status, words):
    outcome = measured._judge(written, code, "exit status 1", "file")
    assert outcome.status.value == status
    assert words in outcome.summary


def test_an_old_file_is_not_taken_for_new_results(tmp_path, monkeypatch):
    (tmp_path / "kernels.json").write_text("{}")
    monkeypatch.setattr(measured, "run", lambda *arguments: processes.Finished(1, "", 0.1))
    outcome = measured.kernels(Run(1.0, tmp_path, tmp_path, {}))
    assert outcome.summary == "nothing measured; exit status 1"


def test_tables_line_up():
    assert table(("name", "ms"), [("a", "1.25"), ("longer", "12")]).splitlines() == [
        "name      ms",
        "a       1.25",
        "longer    12",
    ]
