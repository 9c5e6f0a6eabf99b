# `make serve` and `make test` are all that a fresh clone needs; `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Test processes: one more than there are cores, because tests of processes wait for these.
WORKERS ?= $(shell expr $$(nproc 2>/dev/null || echo 1) + 1)
PIP := $(BIN)/python -m pip --disable-pip-version-check
UV := $(firstword $(wildcard $(BIN)/uv) uv)
LOCK := $(UV) pip compile pyproject.toml --quiet --generate-hashes --no-header --no-emit-index-url \
	--universal --python-version 3.11

# Without compiled files every process of every run compiles hypothesis, Django and the project anew (5–8 s).
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help serve test check fix bench soak fuzz audit pythons clients lock

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 9

serve: $(VENV)/.serve ## Start the gateway (ARGS="…" goes to manage.py serve)
	@$(BIN)/python manage.py serve $(ARGS)

# A file's tests stay in one process, so that what they share (a gateway, a browser) is started once.
test: $(VENV)/.dev ## Run the tests (ARGS="…" goes to pytest)
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

# Its own state folder: checking must not touch the one that the gateway uses.
check: export CLAUDE_PROXY_STATE_DIR := $(CURDIR)/$(VENV)/state
check: $(VENV)/.dev ## Check style, types, migrations, settings and locks; changes nothing
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	@find apiproxy observability proxy_site bench -name '*.py' ! -path '*/migrations/*' -exec wc -l {} + \
		| awk '$$1 > 300 && $$2 != "total" { print $$2 " has " $$1 " lines; 300 are the limit."; bad = 1 } END { exit bad }'
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python manage.py check --fail-level WARNING
	@! grep -nE '://|--(extra-)?index-url|--find-links' requirements.lock requirements-dev.lock \
		|| { echo 'A lock names a package registry.'; false; }

fix: $(VENV)/.dev ## Format the code and repair what ruff can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(VENV)/.dev ## Measure: one JSON line for each scenario
	@$(BIN)/python -m bench $(ARGS)

soak: $(VENV)/.dev ## Load a gateway with twice what it can do for 30 minutes (ENGINE=http; ARGS="--minutes 1")
	@$(BIN)/python -m bench.soak $(if $(ENGINE),--engine $(ENGINE)) $(ARGS)

fuzz: $(VENV)/.dev ## Throw 10,000 odd inputs at a gateway (ENGINE=http; ARGS="--cases N --seed N")
	@$(BIN)/python -m tests.fuzz $(if $(ENGINE),--engine $(ENGINE)) $(ARGS)

audit: $(VENV)/.dev ## Ask for known vulnerabilities in what is installed; fails if a package cannot be looked up
	@$(BIN)/python -m tests.support.audit $(ARGS)

pythons: $(VENV)/.dev ## Try the gateway on every newer Python of this machine (ARGS="…": on these)
	@$(BIN)/python -m tests.pythons $(ARGS)

clients: $(VENV)/.dev ## Run real clients through the gateway and write docs/clients.md (ARGS="--client codex --engine http")
	@$(BIN)/python -m tests.clients $(ARGS)

lock: ## Renew both locks from pyproject.toml (needs uv)
	$(LOCK) --extra postgres --extra redis --extra otel --output-file requirements.lock
	$(LOCK) --constraint requirements.lock --extra dev --output-file requirements-dev.lock

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 14) else \
		"Python 3.11, 3.12, 3.13 or 3.14 is needed, and this is %d.%d; name one by PYTHON=python3.13 or the like." % v)'
	@echo 'Making $(VENV)…'
	@$(PYTHON) -m venv $(VENV)

# Each lock is installed once, and again when it changes. It is complete, and compiling all that it brings would take
# longer than compiling what is imported, so a third of the time is saved.
INSTALL = $(PIP) install --quiet --require-hashes --no-deps --no-compile
$(VENV)/.serve: requirements.lock | $(BIN)/python
	@echo 'Installing requirements.lock…'
	@$(INSTALL) -r requirements.lock
	@touch $@

$(VENV)/.dev: requirements-dev.lock | $(BIN)/python
	@echo 'Installing requirements-dev.lock…'
	@$(INSTALL) -r requirements-dev.lock
	@touch $@
