# What a person runs; CI runs the same targets. `make` alone lists them.

.DEFAULT_GOAL := help
SHELL := /bin/sh
# Set in many containers; the tests start dozens of processes, and each would compile everything again.
unexport PYTHONDONTWRITEBYTECODE
PYTHON ?= python3
VENV ?= .venv
JOBS ?= 4
PYTEST_ARGS ?=
POSTGRES ?=
ARGS ?=
BIN := $(VENV)/bin
COMPILE := uv pip compile --python-version 3.11 --universal --generate-hashes --quiet

.PHONY: help run test test-more test-real check format generate bench chaos day day-faults model mutants compose-test clients aws-cli lock clean venv-local venv-dev

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: venv-local ## Run all of JIT here, with a stand-in for AWS (ARGS="--port 9000" and so on)
	@echo "Starting JIT"; exec $(BIN)/python -m local $(ARGS)

test: venv-dev ## Run every test that needs no container (PYTEST_ARGS, JOBS=4)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder -m "not compose" $(PYTEST_ARGS)

test-more: venv-dev clients ## The tests that draw samples, with large ones: properties, schemathesis, clients
	JIT_TEST_MORE=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder -m more --timeout 1500 $(PYTEST_ARGS)

check: venv-dev ## Format, lint, types, import contracts, generated files, lock files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m cli.main events | diff -u docs/events.md - || { echo "docs/events.md: run make generate" >&2; exit 1; }
	$(BIN)/python -m cli.main settings --names | diff -u shared/foundation/setting_names.txt - || { echo "shared/foundation/setting_names.txt: run make generate" >&2; exit 1; }
	$(BIN)/python -m cli.main settings | diff -u docs/settings.md - || { echo "docs/settings.md: run make generate" >&2; exit 1; }
	$(BIN)/python -m cli.main openapi | diff -u docs/openapi/jit.json - || { echo "docs/openapi/jit.json: run make generate" >&2; exit 1; }
	$(BIN)/python -m deploy.locks

format: venv-dev ## Rewrite the code as `make check` wants it
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

generate: venv-dev ## Write anew all that follows from the code: documents, list of settings, golden files
	JIT_WRITE_GOLDEN=1 $(BIN)/python -m pytest -q tests/contracts/test_golden.py tests/audit/test_reference.py
	$(BIN)/python -m cli.main settings --names > shared/foundation/setting_names.new
	@mv shared/foundation/setting_names.new shared/foundation/setting_names.txt
	$(BIN)/python -m cli.main events > docs/events.md
	$(BIN)/python -m cli.main settings > docs/settings.md
	$(BIN)/python -m cli.main openapi > docs/openapi/jit.json

bench: venv-dev ## Measure what design targets exist for; JSON lines
	$(BIN)/python -m bench $(ARGS)

day: venv-dev ## A working day under kills on real servers; one JSON object (ARGS="--seconds 120 --seed 7")
	$(BIN)/python -m bench.day $(ARGS)

day-faults: venv-dev ## Show that the day's judge fails on each fault put in on purpose (15 minutes)
	$(BIN)/python -m bench.day_faults

model: venv-dev ## The provisioner under every schedule there is time for; JSON lines (ARGS="--seconds 60 --world two-claims")
	$(BIN)/python -m model $(ARGS)
chaos: venv-dev ## Everything goes wrong at once, judged; one JSON object (ARGS="--seconds 600 --seed 7")
	$(BIN)/python -m bench.chaos $(ARGS)

mutants: venv-dev ## Show that the provisioner's tests fail on each listed wrong change (ARGS="--only decisions")
	$(BIN)/python -m bench.mutants $(ARGS)

test-real: venv-dev ## The messaging and e2e tests again on a real Kafka and PostgreSQL (POSTGRES=15 for Debian's)
	.ci/real-servers $(BIN)/python $(POSTGRES) -- $(BIN)/python -m pytest tests/messaging tests/e2e $(PYTEST_ARGS)

compose-test: venv-dev ## Bring docker-compose.yml up, walk through it, take it down (needs a container engine)
	JIT_TEST_COMPOSE=1 $(BIN)/python -m pytest tests/compose $(PYTEST_ARGS)

clients: ## Install the tools that generate clients, aside (Node 20 is used where there is one)
	@cmp -s requirements/clients.txt .venv-clients/clients.txt || $(MAKE) --no-print-directory install VENV=.venv-clients LOCK=clients
	@if command -v npm >/dev/null; then cd tests/clients/typescript && { [ -d node_modules ] || npm ci --no-audit --no-fund --silent; }; \
	else echo "There is no Node here: the TypeScript client is left out"; fi

aws-cli: ## Install the AWS CLI into .venv-aws, for the tests that drive the simulator with it
	@cmp -s requirements/aws-cli.txt .venv-aws/aws-cli.txt || $(MAKE) --no-print-directory install VENV=.venv-aws LOCK=aws-cli

lock: ## Resolve pyproject.toml into requirements/ again (needs uv and the package index)
	$(COMPILE) pyproject.toml --extra local --extra dev -o requirements/dev.txt
	$(COMPILE) pyproject.toml --extra local --constraint requirements/dev.txt -o requirements/local.txt
	$(COMPILE) pyproject.toml --constraint requirements/dev.txt -o requirements/service.txt
	echo hatchling | $(COMPILE) - --constraint requirements/dev.txt -o requirements/build.txt
	printf 'openapi-python-client==0.29.1\nmypy==2.4.1\n' | $(COMPILE) - -o requirements/clients.txt
	echo awscli==1.46.2 | $(COMPILE) - -o requirements/aws-cli.txt

clean: ## Remove caches and build output; data/ and the virtual environments stay
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
	find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +

# A virtual environment that holds a lock file is recognised by a copy of that file inside it: comparing
# takes no time, and a changed lock installs again.
venv-local:
	@cmp -s requirements/local.txt $(VENV)/local.txt || $(MAKE) --no-print-directory install LOCK=local GOAL=$(firstword $(MAKECMDGOALS))

venv-dev:
	@cmp -s requirements/dev.txt $(VENV)/dev.txt || $(MAKE) --no-print-directory install LOCK=dev GOAL=$(firstword $(MAKECMDGOALS))

# Something moves while pip works: a dot a second, until this shell ends, however it ends.
.PHONY: install
install:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "JIT needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>/dev/null || echo not there)." \
	    "Name another one: make $(firstword $(GOAL) run) PYTHON=python3.12" >&2; exit 1; }
	@printf 'Installing requirements/$(LOCK).txt into $(VENV), once; it takes a minute or two '; \
	while sleep 1 && kill -0 $$$$ 2>/dev/null; do printf .; done & \
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "No virtual environment could be made; on Debian: apt install python3-venv" >&2; exit 1; }; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes \
	  -r requirements/$(LOCK).txt || exit 1; \
	echo " done"
	@cp requirements/$(LOCK).txt $(VENV)/$(LOCK).txt
