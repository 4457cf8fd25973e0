# Everything works from a fresh clone: make and Python 3.11 are all that has to be there.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# Where PyTorch comes from: an index's address, or `default`, pip's usual one. Empty: see deploy/install_torch.py.
TORCH_INDEX ?=
# One process more than there are cores, since tests that watch a service mostly wait; and in the order of the folders,
# which begins with those.
PROCESSES := $(shell expr $$(nproc 2>/dev/null || echo 2) + 1)
PYTEST := $(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder --max-worker-restart 0

.DEFAULT_GOAL := help
.PHONY: help install demo public-models dev test test-fast faults test-long bench gpu lint types client update sbom audit clean

help:  ## List the targets, and how long each takes on two cores
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# A stamp says that an installation came to its end: one that was cut short is taken up again.
$(VENV)/.installed: pyproject.toml uv.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	@$(BIN)/python deploy/install_torch.py $(TORCH_INDEX)
	@$(BIN)/python deploy/locked.py install all
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@$(BIN)/python deploy/locked.py install dev
	@touch $@

install: $(VENV)/.installed  ## Install the product into .venv (2 to 4 minutes)

demo: install  ## Run the whole service on phantom studies and show the worklist (3 minutes the first time, then 20 s)
	$(BIN)/dlr demo

dev: $(VENV)/.installed-dev  ## Add the developers' tools to .venv (1 minute)

test: dev  ## Run the tests against real PostgreSQL and Redis, on all cores (6 minutes)
	$(PYTEST) -m 'not faults and not long'

test-fast: dev  ## Run the tests that need no running service (2 minutes)
	$(PYTEST) -m 'not slow and not faults and not long'

faults: dev  ## Kill, freeze, fill and poison a running service: does it keep its promises? (5 minutes)
	$(BIN)/python -m pytest -m faults --durations 0 --numprocesses 2 --dist load --max-worker-restart 0

test-long: dev  ## Before a release: every property with 500 examples, and the tests that take minutes (hours)
	$(PYTEST) -m 'hypothesis or long' --hypothesis-profile long

bench: dev  ## Measure every row of docs/performance.md beside its peer, on a quiet machine (1 hour)
	@$(BIN)/python deploy/locked.py install bench dev
	$(BIN)/python -m benchmarks --out benchmarks/figures.json

# Sets as they were downloaded (BUSBRA and breast in SETS), and options of `dlr train` for each training.
SETS ?= sets
PUBLIC ?= public-models
TRAIN ?=

public-models: dev  ## Train both models on public sets in SETS, with reports (a GPU: an hour; without: a day or more)
	$(BIN)/python -m benchmarks.public_models $(SETS) $(PUBLIC) -- $(TRAIN)

gpu: dev  ## Measure the models and the service on this machine's GPU (6 minutes)
	$(BIN)/python -m benchmarks.gpu --out benchmarks/gpu.json

lint: dev  ## Check style and imports: Ruff, import-linter (10 s)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: dev  ## Check types: mypy, strict (80 s the first time, then 10 s)
	$(BIN)/mypy

client: $(VENV)/.installed  ## Check that the client installs without PyTorch and brings its migrations (1 minute)
	.ci/client-install

update: $(VENV)/.installed  ## Renew uv.lock: the newest releases that pyproject.toml allows (1 minute)
	$(BIN)/python deploy/locked.py update

sbom: $(VENV)/.installed  ## Write what each image is made of, with licences, to build/sbom (10 s)
	$(BIN)/python deploy/sbom.py

audit: dev  ## Look up the lock's distributions in an index of advisories, where one answers (1 minute)
	$(BIN)/python deploy/audit.py

clean:  ## Remove .venv and everything else that was made here
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
