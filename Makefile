PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test clean

demo: .venv/installed
	$(BIN)/ganvas demo

# A process for each core and one more, as some wait for browsers and for other processes; the tests of one file stay
# together and share what took long to make. Long files begin (tests/conftest.py): in the order of the numbers of
# tests, which is xdist's own, they would come last.
PROCESSES = $(shell $(PYTHON) -c 'import os; print(min(9, os.cpu_count() + 1))')
# Tests marked slow run where commits are checked, and by `make test CI=1`. Python may keep what it has compiled, as
# tests start it again and again.
test: export PYTHONDONTWRITEBYTECODE =
test: .venv/installed-dev
	$(BIN)/python -m pytest -n $(PROCESSES) --dist loadscope --no-loadscope-reorder $(if $(CI),,--quick)

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

.venv/installed-dev: .venv/installed tests/peers.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r tests/peers.txt
	touch $@

clean:
	rm -rf .venv
