"""Which extensions are built: decided, and printed, before anything is compiled."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from native_build.cpu.plan import make_cpu_plan
from native_build.cuda.plan import make_cuda_plan
from native_build.plan import Plan
from native_build.tools import CannotBuild
from native_build.variables import max_jobs, mode

MakePlan = Callable[[str, Mapping[str, str]], Plan]


def make_plans(environment: Mapping[str, str]) -> list[Plan]:
    """Of every extension that is built.

    Raises BadVariable for a variable of the environment that means nothing, and CannotBuild where ``1`` asks for what
    is not possible.
    """
    max_jobs(environment)  # also where nothing is compiled
    plans = [
        decide("bertfast._C, the CUDA kernels", "BERTFAST_CUDA", make_cuda_plan, environment),
        decide("bertfast._cpu, the CPU kernels", "BERTFAST_CPU", make_cpu_plan, environment),
    ]
    return [plan for plan in plans if plan is not None]


def decide(title: str, variable: str, make: MakePlan, environment: Mapping[str, str]) -> Plan | None:
    """The plan, or None where bertfast is built without the extension; what was decided is printed.

    variable: builds it never, always, or (the default) where ``make``, which is given its value, does not raise
    CannotBuild. Raises as `make_plans` does.
    """
    chosen = mode(variable, environment)
    try:
        if chosen == "0":
            raise CannotBuild(f"{variable}=0")
        plan = make(chosen, environment)
    except CannotBuild as error:
        if chosen == "1":
            raise CannotBuild(f"{title}, cannot be built: {error}") from error
        print(f"{title}: will not be built: {error}", flush=True)
        return None
    print(f"{title}: will be built\n{plan}", flush=True)
    return plan
