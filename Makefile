# Everything a newcomer needs: `make run` and `make test`. Python 3.11 and make are all they ask for.
PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3.11)
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SPREAD := -n logical --dist loadfile --no-loadscope-reorder
BENCH_STAMP := $(VENV)/.installed-bench
JS_TOOLS := express@5 express4@npm:express@4 fastify@5 typescript
# Hundreds of processes are started: without bytecode each would compile all that it loads. Only what is loaded is
# compiled, when it first is, and not the whole of every package as it is installed.
unexport PYTHONDONTWRITEBYTECODE
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile

.PHONY: run demo test all-tests test-quick test-long test-compiled fuzz check lint types rules generated manifests wheel bench bench-origin chaos experiments load load-ui simulate proto js-tools schema clean monitoring alerts help
.DEFAULT_GOAL := help

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(STAMP): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "edge-passport needs Python 3.11 or newer; set PYTHON=/path/to/python3"; exit 1; }
	@echo "Setting up $(VENV): a minute on the first run"
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) -e '.[dev]'
	@touch $@

$(BENCH_STAMP): $(STAMP)
	$(INSTALL) -e '.[dev,bench]'
	@touch $@

run: $(STAMP) ## Start the edge and everything behind it on loopback
	$(BIN)/edge up

demo: $(STAMP) ## Drive the login story through a stack of its own and show each step
	$(BIN)/edge demo

# What is checked and the tests run beside each other, all to their ends, so that the cores have work at any time.
test: $(STAMP) ## Lint, types, import rules, and the tests
	@$(MAKE) --no-print-directory --jobs=2 --keep-going --output-sync=target all-tests check

# The +: what it says is shown as it comes, not held back by --output-sync.
all-tests: $(STAMP)
	+$(BIN)/python -m pytest -m "not long" $(SPREAD)

test-quick: $(STAMP) ## The tests without the slow ones
	$(BIN)/python -m pytest -m "not slow" $(SPREAD)

test-long: $(STAMP) ## Those that keep a whole stack under load for a while, which `make test` leaves out
	$(BIN)/python -m pytest -m long

test-compiled: $(STAMP) ## All tests against the compiled packages; needs a C compiler
	$(BIN)/python -m tests.compiled -m "not long" $(SPREAD)

fuzz: $(STAMP) ## Fuzz the framing for longer than `make test` does: half an hour
	$(BIN)/python -m pytest tests/http1 tests/edge/test_foreign.py --hypothesis-profile=deep --timeout=7200

check: lint types rules generated manifests ## Lint, types, import rules, generated code in sync, manifests valid

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

rules: $(STAMP)
	$(BIN)/lint-imports

generated: $(STAMP)
	$(BIN)/python proto/generate.py --check
	$(BIN)/python config/generate.py --check

manifests: $(STAMP)
	$(BIN)/python -m tests.deploy.manifests

proto: $(STAMP) ## Regenerate the protobuf code
	$(BIN)/python proto/generate.py

# At the top, where Node finds them from every folder of the repository; nothing of it is needed to run anything.
js-tools: ## Install Express, Fastify and TypeScript, with which more of the tests of passport/js can run; needs npm
	npm install --prefix . --no-save --no-package-lock --no-audit --no-fund --loglevel=error --fetch-retries=1 $(JS_TOOLS)

monitoring: $(STAMP) ## Regenerate the table of docs/metrics.md and the Grafana dashboards
	$(BIN)/python config/generate.py

schema: $(STAMP) ## Regenerate the JSON schemas of the config files
	$(BIN)/edge schema --out config/schema

wheel: $(STAMP) ## Build the wheel to deploy, with the hot modules compiled; needs a C compiler, two minutes
	HATCH_BUILD_HOOK_ENABLE_CUSTOM=true $(BIN)/python -m pip wheel --disable-pip-version-check --no-deps --wheel-dir dist .

bench: $(BENCH_STAMP) ## Measure the edge beside Envoy and nginx on this machine
	$(BIN)/python -m loadtest.bench

bench-origin: $(BENCH_STAMP) ## Measure what reading a Passport costs an origin, in each framework
	$(BIN)/python -m loadtest.bench_origin $(A)

chaos: $(STAMP) ## Harm the edge under load and see what is lost; S=name for one scenario, A=--quick to be short, A=--reference=nginx
	$(BIN)/python -m loadtest.chaos $(S) $(A)

alerts: $(STAMP) ## Cause each alert with real processes and see it fire: some minutes; needs prometheus
	$(BIN)/python -m pytest tests/observability/alert_scenarios.py tests/observability/alert_scenarios_inside.py

LOAD = $(S) $(if $(U),--users=$(U)) $(if $(T),--time=$(T)) $(A)

load: $(STAMP) ## Put load on the edge with Locust; S=login_storm for another scenario, U=users T=seconds
	$(BIN)/python -m loadtest.locust $(LOAD)

load-ui: $(STAMP) ## The same, from Locust's page in a browser
	$(BIN)/python -m loadtest.locust $(LOAD) --ui

experiments: $(STAMP) ## Measure what the edge costs and how it grows, for docs/performance.md; E="latency memory" for some, A=--quick to be short
	$(BIN)/python -m loadtest.experiments $(E) $(A)

simulate: $(STAMP) ## Simulate outages for 100 million devices and draw the plots of docs/renewal.md: some minutes
	$(BIN)/python -m loadtest.simulate $(A)

clean: ## Remove the virtual environment and everything the embedded default stored
	rm -rf $(VENV) var node_modules
