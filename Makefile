# Every verb sets up what it needs; the only requirements are python3.11 and make.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.saxflow-setup

.PHONY: setup demo test check lint types architecture bench format build clean
.DEFAULT_GOAL := check

setup: $(STAMP)

# torch first and alone: a platform's own CPU build wins over the index's CUDA build when it is there.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt "$$(grep '^torch==' constraints.txt)"
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[convert,local,dev]'
	touch $@

demo: setup
	$(BIN)/saxflow demo

test: setup
	$(BIN)/pytest

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/pyright

architecture: setup
	$(BIN)/lint-imports

check: lint types architecture test

bench: setup
	$(BIN)/python -m benchmarks

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

build: setup
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .
