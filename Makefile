# The main targets: `make demo` installs segkit and runs the demo, `make test` checks and tests everything.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
# One worker more than cores, since tests also wait: for browsers, servers, clocks and disks. Not more, since each imports
# the networks' libraries. loadfile keeps the order of conftest.py, which puts the longest test files first.
CORES := $(shell nproc 2>/dev/null || sysctl -n hw.ncpu)
PYTEST = $(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
WORKERS = $(shell echo $$(($(CORES) < 8 ? $(CORES) + 1 : 8)))

# Compiled once, not by every process: tests start dozens.
unexport PYTHONDONTWRITEBYTECODE

# Restrict arithmetic to SSE, like on another processor, so that no test relies on this machine's rounding.
OTHER_CPU := ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_ENABLE_INSTRUCTIONS=SSE4_2

.PHONY: demo help test test-quick test-slow test-other-cpu check fix wheel clean

demo: $(INSTALLED)
	@$(BIN)/segkit demo demo
	@echo "(Here segkit is $(BIN)/segkit; after \`. $(BIN)/activate\` the commands above work as printed.)"

help:
	@echo "make demo            install segkit and run the workflow in the toy world"
	@echo "make test            check and test everything: 7 to 11 minutes on two cores"
	@echo "make test-quick      run the quick tests: 1 to 2 minutes"
	@echo "make test-slow       run what takes minutes and gigabytes, and rarely changes"
	@echo "make test-other-cpu  run the numerical tests with another processor's rounding"
	@echo "make check | fix     check formatting, types and layers | reformat"
	@echo "make wheel | clean   build and test the wheel | remove the environment and build files"

test: $(INSTALLED)
	@$(MAKE) --no-print-directory -j2 check wheel
	@echo "Running all tests: 7 to 11 minutes on two cores."
	@$(PYTEST)

# For work in progress: without the files that take more than four CPU seconds (see tests/conftest.py).
test-quick: $(INSTALLED)
	@echo "Running the quick tests: 1 to 2 minutes on two cores."
	@$(PYTEST) -m "not slow and not long"

# Tests that take minutes and gigabytes, of code that rarely changes.
test-slow: $(INSTALLED)
	@echo "Running the slow tests: up to half an hour and 10 GB of memory."
	@$(BIN)/pytest -m slow

# Other processors round sums in another order; the numerical tests must pass there too.
test-other-cpu: $(INSTALLED)
	@echo "Running the numerical tests with SSE instructions only: 4 to 8 minutes on two cores."
	@$(OTHER_CPU) $(PYTEST) -m "not slow and numbers"

check: $(INSTALLED)
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@echo "Checking types: up to a minute the first time."
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@sh .ci/types

fix: $(INSTALLED)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# The wheel must work outside the checkout and contain the palettes and the toy networks.
wheel: $(INSTALLED)
	@sh .ci/wheel

clean:
	rm -rf .venv demo build dist

# Reinstalled when the dependencies change.
$(INSTALLED): pyproject.toml constraints.txt
	@bash .ci/install "$(PYTHON)"
	@touch $@
