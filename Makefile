# `make run` starts everything, `make test` checks everything. Both install what they need, into the
# virtual environment .venv.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest
WAITING := tests/integration/test_slow_clients.py tests/integration/test_connections.py

.PHONY: run test lint types audit test-js test-unit test-ml test-generator test-integration \
	test-waiting test-e2e test-faults-short test-faults test-tools bench-engine bench-stream bench-training screenshots clean

run: $(VENV)/installed-run
	@exec $(BIN)/python manage.py up

# The first that fails ends the run. What nothing beside it can disturb runs two at a time; the rest
# measures how the product behaves in time, and runs alone.
test: $(VENV)/installed-test test-tools
	$(MAKE) --jobs=2 --output-sync=target \
		test-waiting lint types audit test-js test-ml test-generator
	$(MAKE) test-integration
	$(MAKE) test-e2e
	$(MAKE) test-faults-short

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/installed-test
	$(BIN)/mypy

# Known vulnerabilities of the pinned packages; where they cannot be looked up, it says so.
audit: $(VENV)/installed-test
	$(BIN)/python tools/audit.py

# The browser's modules, by Node's own test runner.
test-js: test-tools
	@tools/test-js.sh

test-unit: test-ml test-generator

test-ml: $(VENV)/installed-test
	$(PYTEST) tests/ml

test-generator: $(VENV)/installed-test
	$(PYTEST) tests/generator

test-integration: $(VENV)/installed-test test-tools
	$(PYTEST) tests/integration $(addprefix --ignore=,$(WAITING))

# Integration tests that mostly wait for the time-outs of the product.
test-waiting: $(VENV)/installed-test test-tools
	$(PYTEST) $(WAITING)

test-e2e: $(VENV)/installed-test test-tools
	$(PYTEST) tests/e2e

# Every row of the fault table in docs/reliability.md, once.
test-faults-short: $(VENV)/installed-test test-tools
	$(PYTEST) tests/faults

# The rows as often as the table says, the controls, and ten minutes of random faults; takes about
# an hour. Writes build/faults.json.
test-faults: $(VENV)/installed-test test-tools
	$(PYTEST) tests/faults --faults=full
	$(BIN)/python -m tests.faults.soak --minutes 10

test-tools:
	@tools/test-tools.sh

bench-engine: $(VENV)/installed-test
	$(BIN)/python -m benchmarks.bench_engine

bench-stream: $(VENV)/installed-test test-tools
	$(BIN)/python -m benchmarks.bench_stream

bench-training: $(VENV)/installed-test
	$(BIN)/python -m benchmarks.bench_training

# Takes the README's pictures from the copy that runs at URL (`make run` in another terminal).
screenshots: $(VENV)/installed-test test-tools
	$(BIN)/python tools/screenshots.py $(or $(URL),http://127.0.0.1:$(or $(PORT),8000))

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is newer than the lists it stands for, so that a second run needs no network.
$(VENV)/installed-run: requirements.txt constraints.txt | $(BIN)/python
	@echo "Installing the requirements (the first time takes a minute or two)"
	$(PIP) install --quiet --requirement requirements.txt
	@touch $@

$(VENV)/installed-test: $(VENV)/installed-run \
		requirements-dev.txt requirements-train.txt constraints.txt
	@echo "Installing what the tests and training need"
	$(PIP) install --quiet --requirement requirements-train.txt --requirement requirements-dev.txt
	@touch $@

$(BIN)/python:
	@python="$$(tools/find-python.sh)" || exit 1; \
	echo "Making the virtual environment $(VENV) with $$python" \
		"(the pinned versions are checked on Python 3.11)"; \
	"$$python" -m venv $(VENV)
	$(PIP) install --quiet --upgrade pip
