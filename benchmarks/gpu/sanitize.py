"""Stage ``sanitize``: compute-sanitizer's four tools over a script that launches every kernel.

Before a tool's silence counts, it has to find the error that planted.cu makes for it: a tool that sees nothing on
this machine would pass everything.
"""

from __future__ import annotations

import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.gpu.budget import Deadline
from benchmarks.gpu.environment import find_nvcc
from benchmarks.gpu.outcome import Outcome, Run, failed, passed, skipped
from benchmarks.gpu.paths import BUILD, ROOT
from benchmarks.gpu.processes import Finished, python, run
from native_build.cuda.toolchain import Nvcc

TOOLS = ("memcheck", "racecheck", "synccheck", "initcheck")
_PROBE = ("-m", "gpu.sanitizer_probe")
_PROBE_PATHS = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
_PLANTED = Path(__file__).with_name("planted.cu")
# Each tensor in an allocation of its own: inside of a cached block an access past a tensor's end is none past the
# block's.
_UNCACHED = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
# Bytes behind each allocation that belong to none.
_OPTIONS = {"memcheck": ("--padding", "1024")}


def sanitize(stage: Run) -> Outcome:
    """Only "0 errors" of every tool passes, and only if every tool has found what was planted for it."""
    if stage.dry:
        return _dry(stage)
    nvcc = find_nvcc()
    sanitizer = _find_sanitizer(nvcc)
    if sanitizer is None:
        return skipped("no compute-sanitizer beside nvcc or on the PATH")
    deadline = Deadline(stage.limit_s)
    planted = None if nvcc is None else _build_planted(nvcc, stage)
    if nvcc is not None and planted is None:
        return failed(f"planted.cu, the tools' own test, does not compile: see {stage.logs / 'planted.log'}")
    # Side by side: most of a tool's time is the host's, that of starting Python and of rewriting kernels.
    with ThreadPoolExecutor(len(TOOLS)) as pool:
        found = pool.map(lambda tool: _run_tool(sanitizer, tool, planted, deadline, stage), TOOLS)
        results = dict(zip(TOOLS, found, strict=True))
    wrong = {tool: result for tool, result in results.items() if result != "0 errors"}
    if wrong:
        return failed("; ".join(f"{tool}: {result}" for tool, result in wrong.items()), **results)
    if planted is None:
        return skipped("0 errors, which prove nothing: without nvcc no error could be planted", **results)
    return passed(f"{', '.join(TOOLS)}: 0 errors", **results)


def _run_tool(sanitizer: str, tool: str, planted: Path | None, deadline: Deadline, stage: Run) -> str:
    """``"0 errors"``, or what is wrong."""
    command = [sanitizer, "--tool", tool, *_OPTIONS.get(tool, ())]
    if planted is not None:
        log = stage.logs / f"{tool}-planted.log"
        done = run([*command, str(planted), tool], min(30.0, deadline.left()), log, show=False)
        if not num_errors(done.output):
            return f"does not find the planted error ({verdict(done, '')})"
    limit_s = max(1.0, deadline.left())
    done = run(
        [*command, *python(*_PROBE)], limit_s, stage.logs / f"{tool}.log", show=False, **_UNCACHED, **_PROBE_PATHS
    )
    result = verdict(done, "launched every kernel")
    print(f"  {tool}: {result} ({done.seconds:.0f} s)", flush=True)
    return result


def verdict(done: Finished, must_say: str) -> str:
    """``"0 errors"`` if the tool says so, the script ran to its end, and said ``must_say``; or what is wrong."""
    errors = num_errors(done.output)
    if done.code is None:
        return done.why
    if errors is None:
        return f"no summary of errors ({done.why}): {_last_words(done.output)}"
    if errors:
        return f"{errors} errors"
    if done.code != 0 or must_say not in done.output:
        return f"the script did not run to its end ({done.why}): {_last_words(done.output)}"
    return "0 errors"


def num_errors(output: str) -> int | None:
    """What the tool's own summary counts, hazards of racecheck included; None without one."""
    summaries = re.findall(r"^========= (?:ERROR|RACECHECK) SUMMARY: (\d+) (?:errors?|hazards?)", output, re.MULTILINE)
    return sum(map(int, summaries)) if summaries else None


def _last_words(output: str) -> str:
    lines = [line for line in output.splitlines() if line.strip(" =")]
    return " / ".join(lines[-2:])[-300:] if lines else "no output"


def _build_planted(nvcc: Nvcc, stage: Run) -> Path | None:
    program = BUILD / "planted"
    program.parent.mkdir(parents=True, exist_ok=True)
    architecture = f"sm_{stage.environment['compute_capability'].replace('.', '')}"
    command = [str(nvcc.path), f"-arch={architecture}", "-o", str(program), str(_PLANTED)]
    done = run(command, stage.limit_s / 4, stage.logs / "planted.log")
    return program if done.succeeded else None


def _dry(stage: Run) -> Outcome:
    command = python(*_PROBE, "--device", "cpu")
    done = run(command, stage.limit_s, stage.logs / "sanitizer_probe.log", show=False, **_PROBE_PATHS)
    if done.succeeded and "launched every kernel" in done.output:
        return passed("the script runs; no tool watched it")
    return failed(f"{done.why}: {_last_words(done.output)}")


def _find_sanitizer(nvcc: Nvcc | None) -> str | None:
    """That of nvcc's toolkit, or the one on the PATH."""
    beside = None if nvcc is None else shutil.which("compute-sanitizer", path=f"{nvcc.home}/bin")
    return beside or shutil.which("compute-sanitizer")
