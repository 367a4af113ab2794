# The verbs of development. Each installs what it needs into a virtual environment of its own.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet $(PIPFLAGS)
PYTEST := $(BIN)/python -m pytest -p no:cacheprovider
# One for each core.
WORKERS ?= 2
PARALLEL := -n $(WORKERS) --dist worksteal
# What differs between Python versions shows here first.
CORE := tests/test_options.py tests/test_credentials.py tests/test_import.py tests/test_layering.py \
	tests/http/test_session.py tests/http/test_content.py \
	tests/rinocloud/test_reading.py tests/rinocloud/test_writing.py tests/fs \
	tests/server/catalog/test_store.py tests/datapack

.PHONY: demo test test-core test-browser lint soak docs bench clean

demo: $(VENV)/demo.done  ## the main job: a server, an experiment, and reading it back
	$(BIN)/rinofs demo

test: $(VENV)/test.done  ## the whole suite, campaigns in short
	$(PYTEST) $(PARALLEL) -m "not browser"

test-core: $(VENV)/test.done  ## the quick core of the suite
	$(PYTEST) $(CORE)

test-browser: $(VENV)/browser.done  ## the login pages and a notebook in Chromium, with pictures of them for the docs
	$(PYTEST) -m browser tests/browser

lint: $(VENV)/lint.done  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

soak: $(VENV)/test.done  ## the long campaigns: kill cycles, fuzzing, big files
	RINOFS_SOAK=1 $(PYTEST) -m soak --timeout 7200

docs: $(VENV)/docs.done  ## the pages in docs/, as HTML in docs/_build
	$(BIN)/sphinx-build --fail-on-warning --quiet docs docs/_build/html
	@echo "docs/_build/html/index.html"

bench: $(VENV)/bench.done  ## measurements beside the peers; writes docs/benchmarks.md
	$(BIN)/python -m tests.benchmarks

clean:  ## remove what the other verbs made
	rm -rf $(VENV) docs/_build build dist

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --upgrade "pip>=25.1"

$(VENV)/demo.done: pyproject.toml | $(BIN)/python
	$(INSTALL) --editable ".[all]"
	@touch $@

$(VENV)/%.done: pyproject.toml | $(BIN)/python
	$(INSTALL) --editable ".[all]" --group $*
	@touch $@
