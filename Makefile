# Every task of the project. A fresh machine needs Python 3.11 or newer and make; the rest is installed in .venv.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11,$(shell $(name) -c \
  'import sys; sys.version_info >= (3, 11) and print("$(name)")' 2>/dev/null)))
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.installed
TOOLS := $(VENV)/.installed-dev

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test test-slow soak mariadb chromium prove mutants bench bench-extract lint runtime-check format plan cycle audit lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  ARGS=... is handed on to what a task starts: make cycle ARGS='--at 2025-09-01T12:15:30'"

demo: $(RUNTIME) ## A simulated source: first load, quarter-hour cycles, a night, in half a minute
	@$(BIN)/order-tracking demo $(ARGS)

# Tests never read a .env file, and never write the warehouse that it names.
PYTEST = PYTHON_DOTENV_DISABLED=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadgroup

test: $(TOOLS) mariadb chromium ## The tests that are quick; what could not run, or was only sampled, is named at the end
	@$(PYTEST) -m "not slow" $(ARGS)

BUDGET ?= 600
test-slow: $(TOOLS) mariadb chromium ## Slow tests, as many as fit into BUDGET seconds (600): others with each commit
	@$(PYTEST) -m slow --budget $(BUDGET) $(ARGS)

soak: $(TOOLS) mariadb chromium ## All tests, and in full what they only sample: a crash at every statement, 629 weekly cycles
	@ORDER_TRACKING_TEST_THOROUGH=1 $(PYTEST) --timeout 0 $(ARGS)

mariadb:
	@if [ -z "$${ORDER_TRACKING_TEST_MYSQL:-}" ]; then scripts/install_mariadb.sh; fi

chromium:
	@scripts/install_chromium.sh

prove: $(TOOLS) ## N random histories against the oracle (N=200); SEED=123 plays one again
	@PYTHON_DOTENV_DISABLED=1 $(BIN)/python -m tests.proof.play --histories $(or $(N),$(if $(SEED),1,200)) \
	  $(if $(SEED),--seed $(SEED)) $(ARGS)

mutants: $(TOOLS) ## Put the classic mistakes into a copy of the project, one by one: each must be caught
	@PYTHON_DOTENV_DISABLED=1 $(BIN)/python -m tests.proof.mutants --jobs $(JOBS) $(ARGS)

SCALE ?= 0.1
bench: $(TOOLS) ## Time whole cycles at SCALE (0.1; 1.0) of peak volume; results in docs/bench
	@$(BIN)/python -m bench --scale $(SCALE) $(ARGS)

bench-extract: $(TOOLS) ## Rows a second and memory from a MariaDB to landed rows
	@scripts/install_mariadb.sh
	@$(BIN)/python -m bench.extract $(ARGS)

lint: $(TOOLS) ## Check style, types and SQL layout
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@PYTHON_DOTENV_DISABLED=1 $(BIN)/sqlmesh format --check
	@PYTHON_DOTENV_DISABLED=1 $(BIN)/sqlmesh lint

runtime-check: $(TOOLS) mariadb ## A login and cycles with what `make cycle` installs alone, as a user without HOME
	@PYTHON_DOTENV_DISABLED=1 $(BIN)/python -m tests.runtime_check

format: $(TOOLS) ## Rewrite Python and SQL in the project's style
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .
	@PYTHON_DOTENV_DISABLED=1 $(BIN)/sqlmesh format

plan: $(RUNTIME) ## Show what a change of the models does, and apply it after asking
	@$(BIN)/order-tracking plan $(ARGS)

cycle: $(RUNTIME) ## One cycle: extract, then the marts
	@$(BIN)/order-tracking cycle $(ARGS)

audit: $(RUNTIME) ## List the open exceptions; fails while there are any
	@$(BIN)/order-tracking exceptions list --fail $(ARGS)

# soupsieve from 3.0.2 on needs Python 3.11.5, and Debian 12 has 3.11.2.
lock: ## Pin what a clean environment of today installs (after a change of pyproject.toml)
	@rm -rf build/lock && $(PYTHON) -m venv build/lock
	@build/lock/bin/pip install --quiet --quiet -e '.[dev]' 'soupsieve<3.0.2'
	@{ grep '^#' requirements.lock; build/lock/bin/pip freeze --exclude-editable; } > build/requirements.lock
	@mv build/requirements.lock requirements.lock && rm -rf build/lock

clean: ## Remove .venv, caches and the demo's files; never a warehouse
	@rm -rf $(VENV) .cache .mypy_cache .pytest_cache .ruff_cache logs build demo *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Installed again only when the pins or the project's dependencies change.
$(RUNTIME): pyproject.toml requirements.lock | $(BIN)/python
	@echo "Installing the dependencies in $(VENV) ..."
	@$(BIN)/pip install --quiet --quiet -c requirements.lock -e .
	@touch $@

$(TOOLS): pyproject.toml requirements.lock | $(BIN)/python
	@echo "Installing the dependencies and the development tools in $(VENV) ..."
	@$(BIN)/pip install --quiet --quiet -c requirements.lock -e '.[dev]'
	@touch $(RUNTIME) $@

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then echo "Python 3.11 or newer is needed, and none was found. Install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; fi
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "$(PYTHON) could not make a virtual environment. On Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
