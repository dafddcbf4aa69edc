# Set-up and the daily commands. Python 3.11 to 3.13.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed-demo
INSTALLED_DEV := $(VENV)/.installed-dev
FOREIGN_PYTHON := .venv-foreign/.installed
FOREIGN_NODE := tests/foreign/node_modules/.installed
unexport PYTHONDONTWRITEBYTECODE  # the tests start hundreds of processes: each would compile what it imports
export FLWR_TELEMETRY_ENABLED := 0
export FLWR_DISABLE_UPDATE_CHECK := 1

.PHONY: install install-dev postgresql foreign demo test chaos fuzz check bench format clean

install: $(INSTALLED)

install-dev: $(INSTALLED_DEV)

# torch first and pinned: an unpinned one resolves to builds of several gigabytes.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else f"Artesian needs Python 3.11 to 3.13, this is {v[0]}.{v[1]}; try: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(INSTALLED_DEV): $(INSTALLED)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: install
	$(BIN)/artesian demo --out artesian-demo

# The server that some tests start; without it they are skipped.
postgresql:
	.ci/postgresql

# Libraries that others wrote, which check what the ledger writes; where one is missing its tests are skipped.
foreign: $(FOREIGN_PYTHON) $(FOREIGN_NODE)
	.ci/foreign-go

$(FOREIGN_PYTHON): tests/foreign/requirements.txt
	$(PYTHON) -m venv .venv-foreign
	.venv-foreign/bin/pip install --quiet --requirement $<
	touch $@

$(FOREIGN_NODE): tests/foreign/package.json tests/foreign/package-lock.json tests/foreign/.npmrc
	if command -v npm >/dev/null; then cd tests/foreign && npm ci --silent --ignore-scripts && touch node_modules/.installed; \
	else echo "tests that ask npm libraries are skipped: install Node.js 20" >&2; fi

# Four at once on two cores: two of them take tests with real processes, which mostly wait (tests/two_queues.py).
test: install-dev postgresql foreign
	$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder

# The whole storm, of which the tests take a part: 20 rounds in which processes are killed and links cut. A quarter of an
# hour, also on a busy machine; an hour at most.
SEED ?= 1
chaos: install-dev
	ARTESIAN_CHAOS_ROUNDS=20 ARTESIAN_CHAOS_FAULTS=32 ARTESIAN_CHAOS_SEED=$(SEED) $(BIN)/python -m pytest -s --timeout=4200 tests/integration/test_chaos.py

# The decoders on many more hostile inputs than the tests take; EXAMPLES a property.
EXAMPLES ?= 20000
fuzz: install-dev
	ARTESIAN_FUZZ_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest tests/ledger/test_decoders.py tests/ledger/test_decoders_of_files.py --hypothesis-profile=fuzz --timeout=0

check: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install-dev
	$(BIN)/artesian bench

clean:
	rm -rf $(VENV) .venv-foreign tests/foreign/node_modules artesian-demo build *.egg-info
