# Only Python 3.11 or 3.12, git and make are needed. `make help` lists what there is.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.ONESHELL:
MAKEFLAGS += --no-print-directory

VENV := .venv
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/.set-up
ARGS ?=

.PHONY: help setup demo test differential fuzz check bench lock clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 21

setup: $(STAMP) ## virtual environment, Python packages, JRE, servers' jars; a second run needs no network
	@:

$(STAMP): requirements.lock pyproject.toml tickloom/stack/jars.lock deploy/setup.sh
	@deploy/setup.sh $(VENV)
	touch $@

demo: setup ## the main job: a session from sockets to a reconciled position, on real servers
	@$(PYTHON) -m tickloom demo $(ARGS)

test: setup ## all tests, with real servers (ARGS="-n 0 tests/storage -k name" for some)
	@$(PYTHON) -m pytest -q -n 2 --dist loadfile --durations=15 $(ARGS)

differential: setup ## random rules and tapes through Flink and the compiled matcher (ARGS="--seed 7 --cases 500")
	@$(PYTHON) -m tests.differential.run $(ARGS)

model: setup ## random interleavings of all that can happen to an order (ARGS="--steps 100000 --seed 7")
	@$(PYTHON) -m tests.execution.model $(ARGS)

fuzz: setup ## mutated frames into every decoder (ARGS="--frames 10000000 --seed 7 --decoder itch")
	@$(PYTHON) -m tests.fuzz $(ARGS)

check: setup ## ruff, ruff format, mypy --strict, import-linter
	@$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

bench: setup ## every published figure: benchmarks/results/
	@$(PYTHON) -m benchmarks $(ARGS)

lock: ## make requirements.lock anew (for maintainers: needs uv)
	@command -v uv >/dev/null || { echo "make lock needs the tool uv: python3 -m pip install uv" >&2; exit 1; }
	uv pip compile --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
		--no-header pyproject.toml --group dev -o requirements.lock $(ARGS)

clean: ## remove the virtual environment, caches and the data directory var/
	@rm -rf $(VENV) var .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
