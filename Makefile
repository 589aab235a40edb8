# Two commands: `make run` and `make test`. `make help` lists the rest.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# 3.13 and newer come last: the package that carries the embedded Redis must be compiled there.
PYTHON ?= $(shell for name in python3.12 python3.11 python3 python3.13 python3.14; do \
	$$name -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v $$name && break; done)
BIN := .venv/bin
# Front-end programs find the environment's Node, whatever else the machine has.
NODE_PATH_FIRST := PATH="$(CURDIR)/$(BIN):$$PATH"
WORKERS ?= 2
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Node trusts the certificates that the machine trusts, as pip does.
export NODE_USE_SYSTEM_CA := 1

.PHONY: help run test install check fmt types bench bench-peers chaos protocol screenshots lock clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: install ## Frontdesk on http://localhost:8000 with its own Postgres, Redis and two demo shops
	$(BIN)/frontdesk dev $(ARGS)

test: install check ## Every check and every test, on the real services and a real browser
	$(NODE_PATH_FIRST) node --test --test-reporter=dot 'widget-src/**/*.test.ts' 'admin/**/*.test.ts'
	$(BIN)/python -m tests.browser.chromium --ensure
	$(BIN)/python -m tests.mariadb --ensure
	$(BIN)/pytest -n $(WORKERS) --dist worksteal $(ARGS)

install: .venv/installed ## The environment in .venv/ and the built assets: what both commands do first
	@$(BIN)/python hatch_build.py

check: .venv/installed .venv/node_modules ## Format, lint, types and import order, for Python and TypeScript
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(MAKE) --no-print-directory types

types: .venv/node_modules ## The TypeScript compiler on sources and tests
	$(NODE_PATH_FIRST) node_modules/.bin/tsc --noEmit --strict
	$(NODE_PATH_FIRST) node_modules/.bin/tsc --noEmit --strict --project tsconfig.test.json

fmt: .venv/installed ## Formats the Python and repairs what ruff can
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: install ## Frontdesk beside bare relays: what a token, a turn, a socket, a tool and the widget cost
	$(BIN)/python -m tests.browser.chromium --ensure
	$(BIN)/python -m bench $(ARGS)

bench-peers: install .venv-peers/chainlit/installed .venv-peers/litellm/installed ## The same beside Chainlit and LiteLLM's proxy too
	$(BIN)/python -m tests.browser.chromium --ensure
	$(BIN)/python -m bench --peers $(ARGS)

chaos: install ## What must never happen, tried for: the whole table takes an hour; ROWS=kills,points SEED=7 SIZE=small
	$(BIN)/python -m tests.chaos $(if $(ROWS),--rows $(ROWS)) $(if $(SEED),--seed $(SEED)) $(if $(SIZE),--size $(SIZE)) $(ARGS)

protocol: .venv/installed ## Writes the TypeScript and the JSON Schema of the wire from server/protocol/
	$(BIN)/frontdesk protocol

screenshots: install ## Pictures of every state of the widget and the console, into tests/output/, and the README's
	$(BIN)/python -m tests.browser.chromium --ensure
	$(BIN)/pytest tests/browser -m screenshots -n $(WORKERS) $(ARGS)
	$(BIN)/python -m tests.browser.picture

lock: .venv/installed ## Makes all locks anew from pyproject.toml and package.json; UPGRADE=--upgrade for newer versions
	$(BIN)/uv $(UV_LOCK) --extra embedded $(UPGRADE) --output-file requirements.lock pyproject.toml
	$(BIN)/uv $(UV_LOCK) --extra embedded --group dev $(UPGRADE) --constraint requirements.lock \
		--output-file requirements-dev.lock pyproject.toml
	for peer in chainlit litellm; do \
		$(BIN)/uv $(UV_LOCK) $(UPGRADE) --output-file bench/peers/$$peer.lock bench/peers/$$peer.in || exit 1; done
	$(NODE_PATH_FIRST) npm $(if $(UPGRADE),update,install) --package-lock-only

# One lock for every platform, with the hashes of all files of a release and no address of a registry.
UV_LOCK := --no-config --system-certs pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links

clean: ## Deletes what was built; the data of `make run` in .frontdesk/ stay
	rm -rf .venv .venv-peers node_modules build dist server/static server/llm/vocabulary tests/output bench/output \
		.mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps say: this lock is installed. A changed lock installs what differs.
.venv/installed: requirements-dev.lock pyproject.toml hatch_build.py | .venv/bin/python
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements-dev.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# Each peer has an environment of its own: what they require contradicts each other.
.venv-peers/%/installed: bench/peers/%.lock .venv/installed
	$(PYTHON) -m venv .venv-peers/$*
	.venv-peers/$*/bin/python -m pip install --quiet --require-hashes --requirement $<
	@touch $@

.venv/node_modules: .venv/installed package.json package-lock.json .npmrc
	$(BIN)/python hatch_build.py
	@touch $@

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Frontdesk needs Python 3.11 or newer with venv, and found none in PATH." \
		"Install one (Debian: apt-get install python3 python3-venv), or name yours: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "PYTHON=$(PYTHON) is not 3.11 or newer" >&2; exit 1; }
	$(PYTHON) -m venv .venv
