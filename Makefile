# The verbs of development. Each installs what it needs into a virtual environment of its own.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet $(PIPFLAGS)
PYTEST := $(BIN)/python -m pytest -p no:cacheprovider
# Some tests wait: three of them at a time keep two cores busy.
WORKERS ?= 3
PARALLEL := -n $(WORKERS) --dist worksteal
# What differs between Python versions shows here first.
CORE := tests/test_options.py tests/test_credentials.py tests/test_import.py tests/test_layering.py \
	tests/http/test_session.py tests/http/test_content.py \
	tests/rinocloud/test_reading.py tests/rinocloud/test_writing.py tests/fs \
	tests/server/catalog/test_store.py tests/datapack

# The abstract suites of fsspec, and those who read and write at once, with all contents in an S3 store.
ON_S3 := tests/scenarios/rinocloud/test_abstract.py tests/scenarios/repovizz/test_abstract.py \
	tests/scenarios/repovizz/test_concurrency.py tests/scenarios/rinocloud/test_freshness.py \
	tests/scenarios/test_appends.py
NEED_S3 = $(PYTEST) $(PARALLEL) -m s3 $(shell grep -rlE "s3_url|seaweed" --include "test_*.py" tests)

# A page whose examples start an S3 store and PostgreSQL.
DEPLOYMENT := "tests/docs/test_pages.py::test_the_examples_of_a_page_work[docs/deploy.md]"

# What runs on PostgreSQL as well, and there as several workers.
CLUSTERED := tests/server tests/rinocloud tests/repovizz tests/scenarios
ON_POSTGRESQL := RINOFS_TEST_DATABASE=postgresql $(PYTEST) $(PARALLEL)
# Tests that bring a store of their own are in test-s3-quick.
AS_WORKERS := RINOFS_TEST_S3=1 RINOFS_TEST_WORKERS=2 $(ON_POSTGRESQL) -m "not s3"

SOAKS := soak-cases soak-kill soak-faults soak-s3 soak-cluster soak-machines soak-input soak-hostile soak-uploads \
	soak-sync soak-memory
SOAK := RINOFS_SOAK=1 $(PYTEST) $(PARALLEL) -m soak --timeout 1200
# An environment of its own: it holds older versions of everything.
FLOOR := .venv-floor

# The tests start Python a thousand times; without this, some environments have it compile all anew each time.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-s3 test-s3-quick test-cluster test-cluster-quick test-core test-floor test-browser lint soak $(SOAKS) docs bench clean

demo: $(VENV)/demo.done  ## the main job: a server, an experiment, and reading it back
	$(BIN)/rinofs demo

test: $(VENV)/test.done  ## the whole suite without an S3 store, campaigns in short
	$(PYTEST) $(PARALLEL) -m "not s3" --ignore tests/browser --ignore tests/cluster --deselect $(DEPLOYMENT)

# The current zarr needs Python 3.12, and reads shards in other ways.
test-core: $(VENV)/core.done  ## the quick core of the suite, and the tests of zarr
	$(PYTEST) $(CORE) tests/zarr

test-floor: $(FLOOR)/floor.done  ## the quick core, with the lowest versions that pyproject.toml admits
	$(FLOOR)/bin/python -m pytest -p no:cacheprovider $(CORE)

# Not there: tests that bring a store of their own, the modules of an upload into a folder, and when one connection counts
# as slow, which all are that lead to the store.
test-s3: $(VENV)/test.done  ## all tests that need an S3 store, and the suite of the client with all contents in one
	$(NEED_S3)
	RINOFS_TEST_S3=1 $(PYTEST) $(PARALLEL) -m "not s3" tests/scenarios tests/zarr tests/rinocloud tests/repovizz \
		--ignore tests/scenarios/server/test_data_path.py --ignore tests/rinocloud/test_parallel_ranges.py

test-s3-quick: $(VENV)/test.done  ## all tests that need an S3 store, and a part of test-s3
	$(NEED_S3)
	RINOFS_TEST_S3=1 $(PYTEST) $(PARALLEL) $(ON_S3)

test-cluster: $(VENV)/test.done  ## the suite of server and client on PostgreSQL, and there with S3 and two workers
	$(PYTEST) $(PARALLEL) tests/cluster $(DEPLOYMENT)
	$(ON_POSTGRESQL) $(CLUSTERED)
	$(AS_WORKERS) $(CLUSTERED)

test-cluster-quick: $(VENV)/test.done  ## several workers, killed and upgraded, and a part of test-cluster
	$(PYTEST) $(PARALLEL) tests/cluster $(DEPLOYMENT)
	$(ON_POSTGRESQL) tests/server/api/test_rinocloud_endpoints.py tests/server/api/test_rinocloud_extensions.py \
		tests/server/api/test_upload_many.py tests/server/api/repovizz/test_endpoints.py \
		tests/server/auth/test_accounts.py tests/server/auth/test_grants.py
	$(AS_WORKERS) tests/scenarios/rinocloud/test_abstract.py tests/scenarios/repovizz/test_abstract.py

test-browser: $(VENV)/browser.done  ## the login pages and a notebook in Chromium, with pictures of them for the docs
	$(PYTEST) -m browser tests/browser

lint: $(VENV)/lint.done  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

soak: $(SOAKS)  ## the long campaigns, one after another

soak-cases: $(VENV)/test.done  ## all cases of the tests of which the suite runs some
	$(SOAK) tests/docs/test_examples.py tests/plotting tests/ecosystem/test_arrays.py \
		tests/ecosystem/test_failed_writes.py tests/datapack/test_tables.py tests/datapack/test_audio.py \
		tests/datapack/test_long_recordings.py tests/server/test_budgets.py \
		tests/rinocloud/test_browsing.py tests/rinocloud/test_tolerance.py tests/scenarios/test_sources.py

soak-kill: $(VENV)/test.done  ## servers and backups that are killed in the middle of writes
	$(SOAK) tests/scenarios/server/test_kill.py tests/scenarios/server/test_repovizz_kill.py \
		tests/server/test_maintenance.py tests/server/test_backups.py

soak-faults: $(VENV)/test.done  ## networks that break what passes through them
	$(SOAK) tests/http tests/scenarios/rinocloud/test_faults.py tests/rinocloud/test_damage.py \
		tests/rinocloud/test_full_disk.py \
		tests/scenarios/rinocloud/test_failed_writes.py tests/scenarios/repovizz/test_failed_writes.py

soak-s3: $(VENV)/test.done  ## S3 stores and their servers killed, collected all the time, filled with large files
	$(SOAK) tests/scenarios/server/test_s3_kill.py tests/ecosystem/test_dask_direct.py \
		tests/scenarios/server/test_s3_memory.py

soak-cluster: $(VENV)/test.done  ## workers, PostgreSQL and the S3 store killed, and cut off from each other
	RINOFS_SOAK=1 $(PYTEST) -m soak --timeout 3600 tests/cluster

soak-machines: $(VENV)/test.done  ## filesystems beside a model of what they should do
	$(SOAK) tests/scenarios/rinocloud/test_state_machine.py tests/scenarios/repovizz/test_state_machine.py \
		tests/rinocloud/test_sequential.py tests/rinocloud/test_overtaken.py \
		tests/zarr tests/scenarios/rinocloud/test_abstract.py tests/scenarios/repovizz/test_abstract.py

soak-input: $(VENV)/test.done  ## requests and queries that are made up, and many stalled clients
	$(SOAK) tests/server/api/test_bad_input.py tests/server/web tests/server/catalog \
		tests/server/test_logs.py tests/datapack/test_safe_xml.py \
		tests/rinocloud/test_matching.py tests/rinocloud/test_search.py

soak-hostile: $(VENV)/test.done  ## clients that mean harm, and requests that grow
	$(SOAK) tests/scenarios/server/test_hostile.py tests/server/test_growth.py

soak-uploads: $(VENV)/test.done  ## uploads of many files, metadata and datapacks that are made up
	$(SOAK) tests/server/api/test_upload_many.py tests/rinocloud/test_writing_together.py \
		tests/rinocloud/test_metadata.py tests/repovizz/test_push_and_pull.py tests/datapack/test_writing.py \
		tests/datapack/test_document.py tests/fs/test_staging.py

soak-sync: $(VENV)/test.done  ## folders that are made equal, and files that many append to, with interruptions
	$(SOAK) tests/scenarios/test_sync.py tests/scenarios/test_appends.py tests/scenarios/test_interruptions.py \
		tests/scenarios/server/test_races.py

soak-memory: $(VENV)/test.done  ## large files, and how much memory they take
	RINOFS_SOAK=1 $(PYTEST) -m soak --timeout 1200 tests/scenarios/test_memory.py tests/scenarios/server/test_memory.py \
		tests/server/test_nginx.py

docs: $(VENV)/docs.done  ## the pages in docs/, as HTML in docs/_build
	$(BIN)/sphinx-build --fail-on-warning --quiet docs docs/_build/html
	@echo "docs/_build/html/index.html"

bench: $(VENV)/bench.done  ## measurements beside the peers; writes docs/benchmarks.md
	$(BIN)/python -m tests.benchmarks

clean:  ## remove what the other verbs made
	rm -rf $(VENV) $(FLOOR) docs/_build build dist

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --upgrade "pip>=25.1"

$(FLOOR)/floor.done: pyproject.toml tests/floor.py
	$(PYTHON) -m venv $(FLOOR)
	$(FLOOR)/bin/python -m pip install --quiet $(PIPFLAGS) --upgrade "pip>=25.1"
	$(FLOOR)/bin/python tests/floor.py > $(FLOOR)/constraints.txt
	$(FLOOR)/bin/python -m pip install --quiet $(PIPFLAGS) --constraint $(FLOOR)/constraints.txt \
		--editable ".[all]" --group core
	@touch $@

$(VENV)/demo.done: pyproject.toml | $(BIN)/python
	$(INSTALL) --editable ".[all]"
	@touch $@

$(VENV)/%.done: pyproject.toml | $(BIN)/python
	$(INSTALL) --editable ".[all]" --group $*
	@touch $@
