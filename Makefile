# Every target sets up what it needs: a fresh clone, then `make demo` or `make test`.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.stamp

# One thread a process: the tests run two processes side by side, and small tensors gain nothing from more.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n 2

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all lint format clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1@\2/p' Makefile | while IFS=@ read -r target text; do printf '%-16s %s\n' "$$target" "$$text"; done

setup: $(STAMP) ## the virtual environment .venv, with every pinned dependency

# torch goes in by itself and first, so that its pinned wheel is settled before anything that asks for "some torch".
$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) is not installed; install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("make: $(PYTHON) is Python %d.%d; roadcast needs 3.11 or newer: make PYTHON=python3.12" % v[:2])'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "make: $(PYTHON) cannot create virtual environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(STAMP) ## the whole road on the built-in world: record, train, evaluate, in about ten minutes
	$(BIN)/roadcast demo

test: lint ## lint and every quick test (what CI runs)
	$(PYTEST) -m "not slow"

test-all: lint ## lint and every test, slow ones too
	$(PYTEST)

lint: $(STAMP) ## style, spelling, import contracts, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/lint-imports --no-cache
	$(BIN)/pyright

format: $(STAMP) ## rewrite the code to the project's style
	$(BIN)/ruff check --fix --exit-zero --quiet .
	$(BIN)/ruff format .

clean: ## remove everything that make and the tools made
	rm -rf .venv build dist .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
