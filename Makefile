# Two commands: `make demo` shows the whole way, `make test` checks and tests everything.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
# A worker for each core; the files of tests that take longest come first.
PYTEST := $(BIN)/pytest -n auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder

# Arithmetic of another processor: none of the vector instructions beyond SSE, so that no test relies on this one's.
OTHER_CPU := ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_ENABLE_INSTRUCTIONS=SSE4_2

.PHONY: demo help test test-quick test-slow test-other-cpu check fix wheel clean

demo: $(INSTALLED)
	@$(BIN)/segkit demo demo
	@echo "(Here segkit is $(BIN)/segkit; after \`. $(BIN)/activate\` the lines above can be typed as they are.)"

help:
	@echo "make demo            install, and the whole way in the toy world"
	@echo "make test            check and test everything: under 10 minutes on two cores"
	@echo "make test-quick      tests for work in progress: under 2 minutes"
	@echo "make test-slow       tests that take gigabytes"
	@echo "make test-other-cpu  the numbers of networks, as another processor rounds them"
	@echo "make check | fix     formatting, types, layers | reformat"
	@echo "make wheel | clean   build and try the wheel | remove what was installed and built"

test: check wheel
	@echo "All tests: 6 to 9 minutes on two cores, less on more."
	@$(PYTEST)

# Work in progress: without the trainings, the notebooks and the kills.
test-quick: $(INSTALLED)
	@echo "Tests that are quick: about 100 seconds on two cores."
	@$(PYTEST) -m "not slow and not long"

# What takes minutes and gigabytes and rarely changes.
test-slow: $(INSTALLED)
	@echo "The slow tests: up to half an hour and 10 GB of memory."
	@$(BIN)/pytest -m slow

# Sums are rounded in another order on another processor: the trainer's numbers must hold on it too.
test-other-cpu: $(INSTALLED)
	@echo "The numbers of networks with SSE instructions only: three to four minutes on two cores."
	@$(OTHER_CPU) $(PYTEST) -m "not slow and numbers"

check: $(INSTALLED)
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@echo "Types: half a minute the first time."
	@$(BIN)/mypy
	@$(BIN)/lint-imports

fix: $(INSTALLED)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# The built wheel works outside the checkout, with the palettes and the toy world's networks in it.
wheel: $(INSTALLED)
	@sh .ci/wheel

clean:
	rm -rf .venv demo build dist

# Installed once; again when what is to be installed changes.
$(INSTALLED): pyproject.toml constraints.txt
	@bash .ci/install "$(PYTHON)"
	@touch $@
