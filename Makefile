# `make demo` and `make test` do all the set-up themselves, and can be repeated: what is installed stays.

PYTHON ?= python3
PYTEST_FLAGS ?= -n auto --maxprocesses 8 --dist loadfile
VENV := .venv
BIN := $(VENV)/bin
DEMO := build/demo

# Touched when everything of that kind is installed; older than what says what to install: install again.
RUN_STAMP := $(VENV)/.installed-to-run
TEST_STAMP := $(VENV)/.installed-to-test
FORMAL_STAMP := $(VENV)/.installed-to-prove
REQUIREMENTS := pyproject.toml setup.py constraints.txt
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.DELETE_ON_ERROR:
.PHONY: help demo test test-slow verify-full formal mutants lint check-types format clean system-packages

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(RUN_STAMP) ## compile the shipped digits checkpoint and simulate it at 45 nm on held-out digits
	@mkdir -p $(DEMO)
	$(BIN)/dtss-compile models/zoo/digits.pt -o $(DEMO)/schedule.json --onnx $(DEMO)/digits.onnx
	$(BIN)/dtss-sim $(DEMO)/schedule.json --tech 45nm \
	    --json $(DEMO)/result.json --html $(DEMO)/report.html --outputs $(DEMO)/outputs.npz
	@echo
	@echo "Written to $(DEMO):"
	@echo "  schedule.json  what the compiler decided, for dtss-sim and dtss-rtl"
	@echo "  digits.onnx    the same network for other tools"
	@echo "  result.json    cycles, traffic and energy of each layer"
	@echo "  report.html    the same to look at: open it in a browser"
	@echo "  outputs.npz    the class scores of each digit"

test: system-packages lint ## install what testing needs, then lint and run the tests (DATA=DIR for those that need a data set)
	$(BIN)/pytest $(PYTEST_FLAGS) $(if $(DATA),--data "$(DATA)")

verify-full: system-packages $(TEST_STAMP) ## run Spikformer-1-384 and -4-384, untrained, whole through their Verilog
	$(BIN)/pytest -m full -s tests/rtl/test_full.py

test-slow: system-packages $(TEST_STAMP) ## run the tests that take minutes
	$(BIN)/pytest $(PYTEST_FLAGS) -m slow $(if $(DATA),--data "$(DATA)")

formal: $(FORMAL_STAMP) ## prove the Verilog's properties with SymbiYosys, and that the proofs find seeded bugs
	$(BIN)/pytest $(PYTEST_FLAGS) --dist load -m slow tests/rtl/test_formal.py

mutants: system-packages $(FORMAL_STAMP) ## measure how good the benches are: mutants of the Verilog, and what finds them (JSON=FILE)
	$(BIN)/python tests/rtl/mutation $(if $(JSON),--json "$(JSON)")

lint: $(TEST_STAMP) check-types ## ruff, mypy and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo

check-types: $(TEST_STAMP) ## mypy alone
	$(BIN)/mypy

format: $(TEST_STAMP) ## apply ruff's format and its safe fixes
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

clean: ## remove what was built and installed here
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

system-packages: # looked at each time: the system may have changed
	@bash tools/install_system_packages.sh

$(TEST_STAMP): $(REQUIREMENTS) | $(BIN)/python
	@echo "Installing dtss and what its tests need into $(VENV) (minutes the first time) …"
	$(PIP_INSTALL) --editable '.[test]'
	$(PIP_INSTALL) --no-deps spikingjelly # it asks for torchvision, which brings a CUDA build of torch
	@touch $(RUN_STAMP) $@

$(FORMAL_STAMP): $(TEST_STAMP)
	$(PIP_INSTALL) --editable '.[formal]'
	@touch $@

$(RUN_STAMP): $(REQUIREMENTS) | $(BIN)/python
	@echo "Installing dtss into $(VENV) (minutes the first time) …"
	$(PIP_INSTALL) --editable .
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "dtss needs Python 3.11 or newer, but '$(PYTHON)' says: $$($(PYTHON) --version 2>&1 | head -n 1)" >&2; \
	    echo "Name a newer one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	    echo "'$(PYTHON) -m venv' failed; on Debian and Ubuntu it needs the package python3-venv." >&2; exit 1; }
