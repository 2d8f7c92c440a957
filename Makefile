# Two commands: `make demo` shows the whole way, `make test` checks and tests everything.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: demo test check fix wheel clean

demo: $(INSTALLED)
	$(BIN)/segkit demo demo

test: check wheel
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

check: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(INSTALLED)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# The built wheel works outside the checkout, with the palettes and the toy world's networks in it.
wheel: $(INSTALLED)
	sh .ci/wheel

clean:
	rm -rf .venv demo build dist

# Installed once; anew when what is to be installed changes.
$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@
