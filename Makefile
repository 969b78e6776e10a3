# `make demo` and `make test` need only Python 3.11, git and make: each sets up what it uses.
SHELL := /bin/sh
VENV := .venv
PYTHON ?=
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
# Three processes run all tests (some wait more than they compute), shared out by tests/conftest.py;
# what ARGS names runs in one, for --pdb and -x.
PARALLEL := -n 3 --no-loadscope-reorder
export PYTHONPATH := src:.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install check format test demo bench chaos brake survival lock wheel-test clean

help: ## what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.dev ## everything for development, in .venv

demo: $(VENV)/.runtime ## watch a good release go out and a bad one come back
	@$(BIN)/grayscale demo $(ARGS)

check: $(VENV)/.dev ## format, lint, types, layers, dependencies, spelling, schema, sizes
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/codespell
	$(BIN)/check-jsonschema --check-metaschema schemas/release-plan.schema.json
	$(BIN)/check-jsonschema --schemafile schemas/release-plan.schema.json deployments/plans/*.yaml
	$(BIN)/python -m tools.check_sizes

format: $(VENV)/.dev ## put the code into the house format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

test: $(VENV)/.dev ## all tests, with coverage: make test ARGS="tests/judge -x"
	@rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest $(or $(ARGS),$(PARALLEL))
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report $(if $(ARGS),--fail-under=0)

bench: $(VENV)/.dev ## what a proxied request costs
	$(BIN)/python -m benchmarks.run $(ARGS)

chaos: $(VENV)/.dev ## kill parts of everything at random, and look whether anything is lost
	$(BIN)/python -m tools.chaos $(ARGS)

brake: $(VENV)/.dev ## how soon an abort is in force: about five minutes
	$(BIN)/python -m tools.brake $(ARGS)

survival: $(VENV)/.dev ## releases in virtual time, with bad luck: make survival ARGS="--seeds 500"
	$(BIN)/python -m tests.survival $(or $(ARGS),--seeds 2000)

wheel-test: $(VENV)/.dev ## build the wheel, install it in an empty environment, use it
	$(BIN)/python -m tools.check_wheel

lock: $(VENV)/.dev ## pin the requirements anew: make lock ARGS=--upgrade
	$(BIN)/python -m tools.lock $(ARGS)

clean: ## remove .venv and what tools left
	rm -rf $(VENV) dist build .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# ---- set-up, done again only when what it depends on has changed

$(BIN)/python:
	@sh tools/venv.sh $(VENV) $(PYTHON)

# Each file is its own constraint too: older pips resolve `x[extra]` apart from `x`.
# The demo waits for the runtime alone: no checks, no test tools.
$(VENV)/.runtime: requirements/runtime.txt requirements/build.txt pyproject.toml | $(BIN)/python
	@echo "Installing what Grayscale runs on (about a minute, once) ..."
	@$(PIP) install --require-hashes -r requirements/runtime.txt -r requirements/build.txt -c requirements/runtime.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.txt pyproject.toml | $(BIN)/python
	@echo "Installing what Grayscale is developed with (about a minute, once) ..."
	@$(PIP) install --require-hashes -r requirements/dev.txt -c requirements/dev.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $(VENV)/.runtime $@
