# `make` alone lists the targets. Every target installs what it needs into .venv first.
#
# PYTHON       the interpreter that .venv is made with (3.11 to 3.13)
# TORCH_INDEX  a package index that torch alone is installed from, such as
#              https://download.pytorch.org/whl/cu130; the rest comes from the usual index
# ARGS         more arguments for gatecast demo (make demo), pytest (make test) or the benchmark (make bench)
# KAFKA_BOOTSTRAP  (environment) a broker for the tests; without it they start one of their own

PYTHON ?= python3
TORCH_INDEX ?=
ARGS ?=

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CPU_INDEX := https://download.pytorch.org/whl/cpu
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
INSTALLED := .venv/.installed
# Ends at once where the jars are there; says what is missing where Java or Maven is.
KAFKA := $(BIN)/python -m pipeline.demo.kafka_server

# Exit status 0 if the index in argv[1] answers and has torch. Over within 15 s whatever the
# network does; the download that may follow has no such limit.
PROBE := import subprocess, sys; \
  pip = [sys.executable, "-m", "pip", "--no-input", "--timeout", "5", "--retries", "0"]; \
  done = subprocess.run(pip + ["index", "versions", "torch", "--index-url", sys.argv[1]], \
                        capture_output=True, timeout=15); \
  sys.exit(done.returncode)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(INSTALLED) ## install the package, tests and linters into .venv

.PHONY: demo
demo: $(INSTALLED) ## the whole job on one screen and in a browser: http://127.0.0.1:8000
	@$(BIN)/gatecast demo $(ARGS)

.PHONY: test
test: $(INSTALLED) ## run all tests; skipped ones are listed with their reason
	@test -n "$${KAFKA_BOOTSTRAP:-}" || $(KAFKA) >/dev/null || \
	  echo "kafka: without a broker its tests are skipped; 'make kafka' fetches one once this is mended." >&2
	$(BIN)/python -m pytest -rs $(ARGS)

.PHONY: kafka
kafka: $(INSTALLED) ## fetch a Kafka broker for the tests: 43 MB, once; needs Java 17 and Maven
	@$(KAFKA)

.PHONY: lint
lint: $(INSTALLED) ## check style and formatting with ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.PHONY: type
type: $(INSTALLED) ## check types with mypy, strictly in forecasters
	$(BIN)/mypy

.PHONY: bench
bench: $(INSTALLED) ## measure forecasting and learning in readings per second
	$(BIN)/gatecast bench engine $(ARGS)

.venv/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null || { \
	  echo "Gatecast needs Python 3.11, 3.12 or 3.13, but '$(PYTHON) --version' says" \
	       "'$$($(PYTHON) --version 2>&1 | head -n 1)': name another, as in 'make setup PYTHON=python3.12'." >&2; \
	  exit 1; }
	$(PYTHON) -m venv --clear .venv

# Torch first and alone, where it has an index of its own; then the rest, which takes torch
# from the usual index where it is not there yet.
$(INSTALLED): pyproject.toml constraints.txt | .venv/bin/pip
	@if [ -n "$(TORCH_INDEX)" ]; then \
	  echo "torch: taken from the index in TORCH_INDEX"; \
	  $(PIP) install --no-deps -c constraints.txt --index-url "$(TORCH_INDEX)" torch || { \
	    echo "torch: the index in TORCH_INDEX does not answer, or lacks the version in constraints.txt." >&2; exit 1; }; \
	elif $(PIP) install --quiet --dry-run --no-index --no-deps -c constraints.txt torch >/dev/null 2>&1; then \
	  echo "torch: already there"; \
	elif [ -e /dev/nvidia0 ] || nvidia-smi -L >/dev/null 2>&1; then \
	  echo "torch: this machine has an NVIDIA GPU, so the usual index's build is taken"; \
	elif echo "torch: no NVIDIA GPU here, so PyTorch's CPU index is tried first ($(CPU_INDEX))" && \
	     $(BIN)/python -c '$(PROBE)' $(CPU_INDEX) 2>/dev/null && \
	     $(PIP) install --no-deps -c constraints.txt --index-url $(CPU_INDEX) torch; then \
	  echo "torch: the CPU build is installed"; \
	else \
	  echo "torch: NOT AVAILABLE from PyTorch's CPU index; falling back to the usual index." >&2; \
	  echo "torch: on x86-64 Linux that build brings CUDA along: 4.7 GB on disk, used or not." >&2; \
	  echo "torch: TORCH_INDEX=URL names another index, such as a mirror of the CPU one." >&2; \
	fi
	$(PIP) install -c constraints.txt --editable '.[dev]'
	@touch $@
