# Every target that runs something makes the virtual environment it needs first; a second call reuses it, and a
# changed requirements file reinstalls. Only `make gpu` takes PYTHON as it is. `make help` lists the targets.

PYTHON ?= python3
# Passed to every `pip install`. PyPI's torch for Linux is the CUDA build, several GB; for the CPU build, name the
# CPU index that https://pytorch.org/get-started shows:
#   make demo PIP_INSTALL_ARGS="--extra-index-url <that index>"
PIP_INSTALL_ARGS ?=
# Passed to pytest (make test, make quick), and to the benchmarks (make bench, to pytest in make bench-kernels).
PYTEST_ARGS ?=
BENCH_ARGS ?=
# Passed to make lock: --upgrade, --upgrade-package <name>, and what else `uv pip compile` takes.
LOCK_ARGS ?=
# Passed to pytest by make wheel-check. Those left out compile sources of a checkout, not of the wheel.
WHEEL_TESTS ?= tests --ignore tests/build --ignore tests/kernels
# The same in CI, where `make test` has tried what is computed: the way from the sources to an installed package.
CI_WHEEL_TESTS := tests/cli/test_main.py tests/test_layering.py tests/test_versions.py tests/test_guard.py
# How many times as many examples make fuzz tries as make test.
FUZZ ?= 20
# Where make bench-kernels writes its results.
KERNELS_JSON ?= build/kernels.json
# Passed to make compare: --peers, --rows, --precisions, --threads, --json.
COMPARE_ARGS ?=
# Passed to make gpu: --stages, --budget, --out, --dry-run.
GPU_ARGS ?=

# Whether `make`'s own environments get the CUDA extension (docs/building.md). Not by default: nothing that runs in
# them needs it, and compiling it for all architectures takes minutes.
BERTFAST_CUDA ?= 0

VENV := .venv
VENV_TF4 := .venv-tf4
TF4_LOG := $(VENV_TF4).log
# `make cuda-check`: any version from 2.11 on.
CUDA_TORCH ?= 2.14.1
VENV_COMPARE := .venv-compare
VENV_CUDA := .venv-cuda-$(CUDA_TORCH)
VENV_TOOLS := .venv-tools
CUDA_LOG := $(VENV_CUDA).log

PIP_INSTALL = -m pip install -qq --disable-pip-version-check
# What `make`'s environments compile: a change of it installs bertfast anew.
CPU_FILES = $(wildcard csrc/cpu/*.cpp csrc/cpu/*.h native_build/*.py native_build/cpu/*.py)
CXX_FILES = $(shell test ! -d csrc || find csrc -name '*.cu' -o -name '*.cuh' -o -name '*.cpp' -o -name '*.h')

# Nothing downloads a model: tests, demo and benchmark run on what the requirements bring.
export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-tf4 compatibility cuda-check quick fuzz lint format bench bench-kernels compare gpu build wheel-check ci-wheel-check lock audit venv clean distclean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo '  PYTHON=python3.12         the Python to make the virtual environments from (3.10 or later)'
	@echo '  PIP_INSTALL_ARGS="..."    passed to pip; "--extra-index-url ..." picks another torch build'
	@echo '  PYTEST_ARGS="..."         passed to pytest; BENCH_ARGS="..." to make bench and bench-kernels'
	@echo '  COMPARE_ARGS="..."        passed to make compare: --rows a,b --precisions a,b --threads n --json file'
	@echo '  GPU_ARGS="..."            passed to make gpu: --stages a,b --budget seconds --out folder --dry-run'

demo: $(VENV)/.ready ## Run examples/demo.py: the same model, stock and accelerated
	@$(VENV)/bin/python examples/demo.py

test: $(VENV)/.ready ## All tests on the newest transformers, then test-tf4
	@echo "==> All tests, newest transformers"
	@$(VENV)/bin/python -m pytest $(PYTEST_ARGS)
	@$(MAKE) --no-print-directory test-tf4

# Only an environment that cannot be installed is skipped, and aloud. A failing test fails.
test-tf4: ## All tests that transformers matters to, on 4.57.6
	@test -f $(VENV_TF4)/.ready || echo "==> Making $(VENV_TF4), for transformers 4.57.6"
	@if $(MAKE) --no-print-directory $(VENV_TF4)/.ready >'$(TF4_LOG)' 2>&1; then \
	  echo "==> All tests but those of builds, kernels, ops and dense layers, transformers 4.57.6"; \
	  $(VENV_TF4)/bin/python -m pytest --ignore tests/build --ignore tests/kernels --ignore tests/cpu_kernels --ignore tests/ops --ignore tests/linear --ignore tests/kernel_benchmarks $(PYTEST_ARGS); \
	else \
	  echo "SKIPPED: the tests on transformers 4.57.6; $(VENV_TF4) could not be installed:"; \
	  tail -n 8 '$(TF4_LOG)' | cut -c 1-300 | sed 's/^/  /'; \
	fi

compatibility: $(VENV)/.ready $(VENV_TF4)/.ready ## Run what docs/compatibility.md promises, and write it anew
	@$(VENV)/bin/python tests/compatibility/renew.py $(PYTEST_ARGS)
	@$(VENV_TF4)/bin/python tests/compatibility/renew.py $(PYTEST_ARGS)

# As above: what cannot be installed is skipped, aloud.
cuda-check: ## Another torch, a CUDA build: build and load the CUDA extension, run the compatibility rows; no GPU
	@command -v nvcc >/dev/null || { echo "SKIPPED: make cuda-check: no nvcc on the PATH"; exit 0; }; \
	test -f $(VENV_CUDA)/.requirements || echo "==> Making $(VENV_CUDA), for torch $(CUDA_TORCH) (several GB)"; \
	if $(MAKE) --no-print-directory $(VENV_CUDA)/.requirements >'$(CUDA_LOG)' 2>&1; then \
	  $(VENV_CUDA)/bin/python -c 'import torch; print(f"==> The CUDA extension, torch {torch.__version__}, CUDA {torch.version.cuda}")'; \
	  $(VENV_CUDA)/bin/python -m pytest tests/build $(PYTEST_ARGS) && \
	  echo "==> What docs/compatibility.md promises, the same torch" && \
	  $(VENV_CUDA)/bin/python -m pytest -m "not slow" tests/compatibility $(PYTEST_ARGS); \
	else \
	  echo "SKIPPED: make cuda-check; $(VENV_CUDA) could not be installed:"; \
	  tail -n 8 '$(CUDA_LOG)' | cut -c 1-300 | sed 's/^/  /'; \
	fi

quick: $(VENV)/.ready ## The tests that are not marked slow, newest transformers only
	@$(VENV)/bin/python -m pytest -m "not slow" $(PYTEST_ARGS)

# By hypothesis, which knows the shape of what it makes up.
fuzz: $(VENV)/.ready ## The fuzzers of inputs, files, ops and kernels with FUZZ times (20) as many examples, others each time
	@BERTFAST_FUZZ='$(FUZZ)' $(VENV)/bin/python -m pytest -m fuzz $(PYTEST_ARGS)

lint: $(VENV)/.ready ## ruff, mypy and clang-format; changes nothing
	@failed=0; \
	echo "==> ruff check";          $(VENV)/bin/python -m ruff check --quiet . || failed=1; \
	echo "==> ruff format --check"; $(VENV)/bin/python -m ruff format --check . || failed=1; \
	echo "==> mypy";                $(VENV)/bin/python -m mypy || failed=1; \
	echo "==> clang-format";        $(if $(CXX_FILES),$(VENV)/bin/clang-format --dry-run -Werror $(CXX_FILES),echo "no files under csrc") || failed=1; \
	exit $$failed

format: $(VENV)/.ready ## Format Python, C++ and CUDA files in place
	@$(VENV)/bin/python -m ruff check --fix --quiet . || true
	@$(VENV)/bin/python -m ruff format .
	@$(if $(CXX_FILES),$(VENV)/bin/clang-format -i $(CXX_FILES))

bench: $(VENV)/.ready ## Run benchmarks/bench_encoder.py
	@$(VENV)/bin/python benchmarks/bench_encoder.py $(BENCH_ARGS)

bench-kernels: $(VENV)/.ready ## Every op and dense layer beside PyTorch's own (docs/benchmarking.md)
	@mkdir -p '$(dir $(KERNELS_JSON))'
	@$(VENV)/bin/python -m pytest benchmarks/kernels --benchmark-quiet --benchmark-json '$(KERNELS_JSON)' $(BENCH_ARGS)
	@echo "Written: $(KERNELS_JSON)"

compare: $(VENV_COMPARE)/.ready ## bertfast beside its peers on this CPU (docs/benchmarking-cpu.md)
	@$(VENV_COMPARE)/bin/python benchmarks/compare_cpu.py $(COMPARE_ARGS)

# By the Python that is given and with what it has: no environment is made, nothing is installed or downloaded.
gpu: ## Build, test and time bertfast on an NVIDIA GPU (docs/gpu.md), with PYTHON as it is
	@'$(PYTHON)' -m benchmarks.gpu $(GPU_ARGS)

build: $(VENV)/.ready ## Source distribution and wheel, into dist/
	@echo "==> Building dist/"
	@$(VENV)/bin/python -m build --no-isolation >build.log 2>&1 || { cat build.log; exit 1; }
	@tail -n 1 build.log && rm build.log

wheel-check: $(VENV)/.ready ## The wheel, built from the source distribution and installed: the quick tests run on it
	@BERTFAST_CUDA='$(BERTFAST_CUDA)' $(VENV)/bin/python tests/supply_chain/check_wheel.py -m "not slow" $(WHEEL_TESTS) $(PYTEST_ARGS)

ci-wheel-check: ## wheel-check with a few tests, as .ci/run calls it
	@$(MAKE) --no-print-directory wheel-check WHEEL_TESTS='$(CI_WHEEL_TESTS)'

lock: $(VENV_TOOLS)/.requirements ## Write requirements/*.txt anew from requirements/*.in: pins with hashes
	@$(VENV_TOOLS)/bin/python requirements/lock.py $(LOCK_ARGS)

audit: $(VENV_TOOLS)/.requirements ## Ask pip-audit for known vulnerabilities of what requirements/*.txt pin
	@$(VENV_TOOLS)/bin/python requirements/audit.py

venv: $(VENV)/.ready ## Only make .venv
	@echo "$(VENV) is ready"

clean: ## Remove what was built and cached
	rm -rf build build.log dist bertfast.egg-info '$(TF4_LOG)' .venv-cuda-*.log
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find bertfast tests benchmarks examples -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

distclean: clean ## The same, the virtual environments, and the extensions that they share
	rm -rf bertfast/_C.*.so bertfast/_cpu.*.so $(VENV) $(VENV_TF4) $(VENV_COMPARE) $(VENV_TOOLS) .venv-cuda-*

# ---- Virtual environments. <venv>/.requirements: the pinned packages are in; <venv>/.ready: bertfast is, too.

$(VENV)/.requirements: requirements/dev.txt requirements/torch.txt
$(VENV_TF4)/.requirements: requirements/transformers4.txt requirements/torch.txt
$(VENV_COMPARE)/.requirements: requirements/compare.txt requirements/torch.txt
$(VENV_CUDA)/.requirements: requirements/cuda.txt
$(VENV_TOOLS)/.requirements: requirements/tools.txt

TORCH = -r requirements/torch.txt
$(VENV_CUDA)/.requirements: TORCH = torch==$(CUDA_TORCH)
$(VENV_TOOLS)/.requirements: TORCH =

# All but torch by hash, and nothing that would have to be built by code that has none. torch comes last: what it shares
# with the others is there by then, so that only itself and its packages of CUDA are without one.
$(VENV)/.requirements $(VENV_TF4)/.requirements $(VENV_COMPARE)/.requirements $(VENV_CUDA)/.requirements $(VENV_TOOLS)/.requirements:
	@'$(PYTHON)' -c '' 2>/dev/null || \
	  { echo "error: '$(PYTHON)' does not run; name a Python 3.10 or later: make ... PYTHON=/path/to/python3" >&2; exit 1; }
	@'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "error: $$('$(PYTHON)' --version 2>&1) is too old; bertfast needs 3.10 or later: make ... PYTHON=python3.12" >&2; exit 1; }
	@'$(PYTHON)' -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "error: '$(PYTHON)' has no venv module; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "==> Making $(@D) from $$('$(PYTHON)' --version)"
	@'$(PYTHON)' -m venv '$(@D)'
	@echo "==> Installing $<$(if $(TORCH), and torch (large: minutes, the first time))"
	@'$(@D)/bin/python' $(PIP_INSTALL) $(PIP_INSTALL_ARGS) --require-hashes --no-deps --only-binary :all: -r $<
	@$(if $(TORCH),'$(@D)/bin/python' $(PIP_INSTALL) $(PIP_INSTALL_ARGS) $(TORCH))
	@'$(@D)/bin/python' -m pip check >/dev/null || '$(@D)/bin/python' -m pip check
	@touch $@

$(VENV)/.ready $(VENV_TF4)/.ready $(VENV_COMPARE)/.ready: %/.ready: %/.requirements pyproject.toml setup.py $(CPU_FILES)
	@echo "==> Installing bertfast into $(@D), editable"
	@BERTFAST_CUDA='$(BERTFAST_CUDA)' '$(@D)/bin/python' $(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@
