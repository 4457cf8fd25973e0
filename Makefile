# Everything works from a fresh clone: make and Python 3.11 are all that has to be there.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# One process more than there are cores, since tests that watch a service mostly wait; and in the order of the folders,
# which begins with those.
PROCESSES := $(shell expr $$(nproc 2>/dev/null || echo 2) + 1)
PYTEST := $(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder --max-worker-restart 0

.DEFAULT_GOAL := help
.PHONY: help install demo test test-fast faults test-long bench lint types client clean

help:  ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --editable '.[dev]'
	@touch $@

install: $(VENV)/.installed  ## Make .venv with everything in it

demo: install  ## Run the whole service once, on phantom studies, and show the worklist
	$(BIN)/dlr demo

test: install  ## All tests but the faults and the long ones, on all cores, against real PostgreSQL and Redis
	$(PYTEST) -m 'not faults and not long'

test-fast: install  ## The tests that take seconds each at most: a minute and a half in all
	$(PYTEST) -m 'not slow and not faults and not long'

faults: install  ## Kill, freeze, fill and poison a running service: does it keep its promises? Five minutes
	$(BIN)/python -m pytest -m faults --durations 0

test-long: install  ## Before a release: every property with 500 examples, and the tests that take minutes
	$(PYTEST) -m 'hypothesis or long' --hypothesis-profile long

bench: install  ## Measure every row of docs/performance.md, side by side with its peer; an hour, on a quiet machine
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --editable '.[dev,bench]'
	$(BIN)/python -m benchmarks --out benchmarks/figures.json

lint: install  ## Ruff and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: install  ## mypy, strict
	$(BIN)/mypy

client: install  ## Does the client install without PyTorch, and bring its migrations along?
	.ci/client-install

clean:  ## Remove what was made here
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
