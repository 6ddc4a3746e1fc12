"""Stage ``build``: ``bertfast._C`` for this GPU's own architecture, in place."""

from __future__ import annotations

from benchmarks.gpu.outcome import Outcome, Run, failed, passed, skipped
from benchmarks.gpu.paths import BUILD
from benchmarks.gpu.processes import python, run

_CHECK = "import bertfast.extension as e; print(e.why_not() or e.build_info())"
# Stands for a GPU where there is none.
_SOME_CAPABILITY = "8.0"


def build(stage: Run) -> Outcome:
    """Compiles what is older than its sources, and imports the result."""
    if stage.dry and stage.environment["nvcc"] is None:
        return skipped("no nvcc to plan a build with")
    variables = {
        "BERTFAST_CUDA": "1",
        "BERTFAST_CPU": "0",
        "TORCH_CUDA_ARCH_LIST": stage.environment.get("compute_capability", _SOME_CAPABILITY),
    }
    # --name plans a build as any command does, and compiles nothing.
    steps = ["--name"] if stage.dry else ["build_ext", "--inplace", "--build-temp", str(BUILD / "temp")]
    done = run(python("setup.py", *steps), stage.limit_s, stage.logs / "build.log", **variables)
    if not done.succeeded:
        return failed(f"setup.py: {done.why}", seconds=done.seconds)
    architecture = f"sm_{variables['TORCH_CUDA_ARCH_LIST'].replace('.', '')}"
    if stage.dry:
        return passed(f"planned for {architecture}, nothing compiled", seconds=done.seconds)
    loaded = run(python("-c", _CHECK), 120.0, stage.logs / "import.log", show=False)
    if not loaded.succeeded or "'sass'" not in loaded.output:
        return failed(f"built, but it does not load: {loaded.output.strip()[-300:]}", seconds=done.seconds)
    return passed(f"{architecture} in {done.seconds:.0f} s", seconds=done.seconds, build_info=loaded.output.strip())
