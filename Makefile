# The one menu, for people and CI alike. `make help` lists it.
# Set-up is part of every target: a fresh machine needs Python 3.11 or later, and make.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
PY := $(VENV)/bin/python
# The compiler of the lock files, so that everybody's locks come out alike.
UV_VERSION := 0.13.8
LOCK := $(PY) -m uv pip compile pyproject.toml --quiet --universal --python-version 3.11 \
	--generate-hashes --no-annotate --custom-compile-command "make lock"

RUNTIME := $(VENV)/.runtime-installed
DEV := $(VENV)/.dev-installed
INPUTS := pyproject.toml .ci/setup
PB := adapters/grpc/pb

.PHONY: help setup lock demo test test-deep mutate chaos check docs protos bench bench-live bench-peers clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

setup: $(DEV) ## create .venv with the locked dependencies (PYTHON=... names the interpreter)

# A checkout that only runs the engine installs the runtime lock; tests and checks add theirs.
$(RUNTIME): requirements.lock $(INPUTS)
	@PYTHON="$(PYTHON)" sh .ci/setup requirements.lock
	@touch $@

$(DEV): requirements-dev.lock requirements.lock $(INPUTS)
	@PYTHON="$(PYTHON)" sh .ci/setup requirements-dev.lock
	@touch $(RUNTIME) $@

demo: $(RUNTIME) ## backtest the example strategy on the sample data into demo-out/
	$(VENV)/bin/engine backtest examples/strategies/sma_cross.py:SmaCross \
		--data examples/data --set data.adjust=true --out demo-out

test: $(DEV) ## run the tests (ARGS="-k ledger" narrows them)
	@$(PY) -m $(if $(ARGS),pytest $(ARGS),tests)

test-deep: $(DEV) ## run the tests with many more examples and a fresh seed
	@HYPOTHESIS_PROFILE=deep $(PY) -m pytest --timeout=1800 $(ARGS)

# Changes are made in memory, never in the checkout.
mutate: $(DEV) ## change the core in small ways and see tests notice (ARGS=actors/ledger.py)
	@$(PY) -m tests.mutation $(ARGS)

chaos: $(DEV) ## kill and starve engine, database and venue for half an hour (ARGS="--minutes 2")
	@$(PY) -m tests.chaos $(ARGS)

check: $(DEV) ## format, lint, types, import contracts, architecture
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports --no-cache
	$(PY) -m pytest -q tests/architecture

docs: $(DEV) ## fill the generated blocks of README.md and docs/
	@$(PY) docs/generate.py

protos: $(DEV) ## generate adapters/grpc/pb from protos/
	@$(PY) -m grpc_tools.protoc --proto_path=protos --python_out=$(PB) --pyi_out=$(PB) \
		protos/order.proto protos/tetrad/oms/v1/oms.proto

bench: $(DEV) ## measure the engine
	@$(PY) -m tests.bench $(ARGS)

bench-live: $(DEV) ## measure it on real brokers, a venue over gRPC and a database
	@$(PY) -m tests.bench.live $(ARGS)

bench-peers: $(DEV) ## measure the engine beside other backtesters
	@$(PY) -m tests.bench.peers $(ARGS)

lock: $(DEV) ## resolve requirements*.lock anew from pyproject.toml (UPGRADE=1 takes newer versions)
	$(PY) -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(LOCK) $(if $(UPGRADE),--upgrade) --group build --output-file requirements.lock
	$(LOCK) $(if $(UPGRADE),--upgrade) --group build --group dev \
		--constraints requirements.lock --output-file requirements-dev.lock

clean: ## remove everything the targets made, .venv included
	rm -rf $(VENV) demo-out bench-out build dist .mypy_cache .ruff_cache .pytest_cache \
		.import_linter_cache .hypothesis .coverage .coverage.* htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
