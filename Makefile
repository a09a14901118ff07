# The tasks of this repository. A machine needs Python 3.11 or 3.12 with venv, and make; no C compiler.
.DEFAULT_GOAL := help
# One task at a time, even with -j: some tests measure latency.
.NOTPARALLEL:
.PHONY: help example test check fmt lint types imports unit slow large docs picture benchmark coverage clean distclean
SHELL := /bin/sh

VENV ?= .venv
OUT ?= build/mnist
WORKERS ?= 2
BENCHMARK ?=
BIN := $(VENV)/bin
PY := $(BIN)/python

# The first interpreter that exists, works and is new enough; PYTHON=... chooses another.
SUITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))
PYTHON ?= $(shell for p in python3.11 python3 python3.12; do \
	if $$p -c '$(SUITS)' >/dev/null 2>&1; then echo $$p; break; fi; done)
PIP := $(PY) -m pip install --quiet --disable-pip-version-check --no-input

# Runs one named command and says how long it took: $(call timed,name,command).
timed = @echo "== $(1)"; began=$$(date +%s); $(2); code=$$?; \
	echo "== $(1): $$(( $$(date +%s) - began )) s"; exit $$code

help: ## list the tasks
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

example: $(VENV)/.installed ## set up, then compile the MNIST example to its budgets
	$(BIN)/budgetc compile specs/examples/mnist/spec.yaml --out $(OUT)

test: check unit slow ## set up, then every check and every test; under half an hour on two cores

# A machine without Python is told so in words, and pip's one long silence is announced.
define installed
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed, as python3.11 or python3, with venv."; exit 4; }
	@echo "installing into $(VENV): two minutes or so on the first run"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --editable '$(1)'
	@touch $@
endef

$(VENV)/.installed: pyproject.toml
	$(call installed,.)

$(VENV)/.dev: pyproject.toml
	$(call installed,.[dev])
	@touch $(VENV)/.installed

fmt: $(VENV)/.dev ## format the code and repair what the linter can
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

lint: $(VENV)/.dev ## the linter and the format check
	$(call timed,format,$(BIN)/ruff format --check .)
	$(call timed,lint,$(BIN)/ruff check .)

types: $(VENV)/.dev ## mypy, strict
	$(call timed,types,$(BIN)/mypy && $(BIN)/mypy docs benchmarks)

imports: $(VENV)/.dev ## the layers: imports fall downwards only
	$(call timed,imports,$(BIN)/lint-imports --no-cache --no-logo)

check: lint types imports ## everything but the tests

# Tests run side by side: products that take all processors each would wait for each other, one test for 64 s and not 5.
unit slow large coverage: export OPENBLAS_NUM_THREADS := 1

# What properties are tried on is drawn alike each time, so that a commit passes or does not.
SAME := --hypothesis-profile=gate

unit: $(VENV)/.dev ## the quick tests, side by side
	$(call timed,unit tests,$(PY) -m pytest $(SAME) -n $(WORKERS) --dist worksteal -m "not slow" --durations=10)

# Those that hold latencies against something would measure each other, so they run one after another.
slow: $(VENV)/.dev ## the tests that compile real models
	$(call timed,slow tests,$(PY) -m pytest $(SAME) -n $(WORKERS) --dist loadfile -m "slow and not large and not timed" --durations=20)
	$(call timed,timed tests,$(PY) -m pytest $(SAME) -m timed --durations=10)

large: $(VENV)/.dev ## what takes too long for CI, or models with more than 100 MB of weights; 10 GB of memory
	$(call timed,large tests,$(PY) -m pytest -m large --durations=10)

coverage: $(VENV)/.dev ## branch coverage of the quick tests
	$(PY) -m coverage run -m pytest -m "not slow"
	$(PY) -m coverage report --skip-covered

docs: $(VENV)/.dev ## write the generated pages anew
	$(PY) docs/generate.py

picture: $(VENV)/.dev ## compile the example and write the pictures of its reports; the page needs Chromium
	$(PY) docs/make_report_picture.py
	$(PY) docs/make_page_picture.py

benchmark: $(VENV)/.installed ## eleven models beside other runtimes, into build/benchmarks; options in BENCHMARK
	$(PY) -m benchmarks.peers $(BENCHMARK)

clean: ## remove what was built and every cache
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage
	find compiler passes targets specs tests docs benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## the same, and the environment
	rm -rf $(VENV)
