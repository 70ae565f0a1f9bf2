PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
LABEL_VENV := .venv-label
LABEL_BIN := $(LABEL_VENV)/bin
LABEL_APP := plugins/monailabel/leaf_seg_app
STUDIES ?=
PORT ?= 8000
CONF ?=
WORKERS ?= 2
SCHEMA ?= $(wildcard ../shared/schema/meta_schema_20240725.json)

# The processes that tests start shall find modules compiled, whatever the environment says.
export PYTHONDONTWRITEBYTECODE :=

# The tests of a file share what they made, so they run in one process; OpenMP's threads would spin in the other's way.
IN_PARALLEL := --numprocesses $(WORKERS) --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help env demo test test-slow test-nightly lint zoo-check format label-env label-server test-label clean

help: ## Show the targets
	@sed -n 's/^\([a-z-]*\):.*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 16

env: $(VENV)/.installed ## Make .venv with leaf_seg (editable) and the tools for its tests

$(VENV)/.created:
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.installed: $(VENV)/.created setup.cfg pyproject.toml constraints.txt
	$(BIN)/pip install -c constraints.txt -e ".[test]"
	touch $@

demo: env ## Train, evaluate and segment on generated phantoms (at most 10 minutes on 2 cores)
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python scripts/demo.py

test: env ## Run the tests that are not slow, in WORKERS (2) processes
	OMP_WAIT_POLICY=PASSIVE $(BIN)/pytest $(IN_PARALLEL) --durations=20 -m "not slow and not nightly"

test-slow: env ## Run the tests that take minutes
	OMP_WAIT_POLICY=PASSIVE $(BIN)/pytest $(IN_PARALLEL) --durations=20 -m "slow and not nightly"

test-nightly: env label-env ## Run the tests that CI has no time for: published sizes, scripts that measure
	OMP_WAIT_POLICY=PASSIVE $(BIN)/pytest $(IN_PARALLEL) --durations=20 -m nightly
	OMP_WAIT_POLICY=PASSIVE $(LABEL_BIN)/pytest $(IN_PARALLEL) plugins/monailabel/tests

lint: env ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

label-env: $(LABEL_VENV)/.installed ## Make .venv-label with MONAI Label (an environment of its own: it needs NumPy 1)

# sam2, which MONAI Label asks for and nothing here uses, would fetch another PyTorch to be built with.
$(LABEL_VENV)/.installed: setup.cfg constraints-label.txt
	$(PYTHON) -m venv $(LABEL_VENV)
	$(LABEL_BIN)/pip install -c constraints-label.txt torch setuptools wheel
	SAM2_BUILD_CUDA=0 $(LABEL_BIN)/pip install -c constraints-label.txt --no-build-isolation sam2
	$(LABEL_BIN)/pip install -c constraints-label.txt -e ".[label]"
	touch $@

label-server: label-env ## Serve a folder to 3D Slicer: make label-server STUDIES=folder [PORT=8000] [CONF="--conf KEY VALUE"]
	@test -n "$(STUDIES)" || { echo "STUDIES is empty: make label-server STUDIES=folder-of-images" >&2; exit 2; }
	OMP_WAIT_POLICY=PASSIVE $(LABEL_BIN)/python -m monailabel.main start_server --app $(LABEL_APP) --studies "$(STUDIES)" --host 127.0.0.1 --port $(PORT) $(CONF)

test-label: label-env ## Run the tests of the MONAI Label app, with real servers
	OMP_WAIT_POLICY=PASSIVE $(LABEL_BIN)/pytest $(IN_PARALLEL) --durations=10 -m "not nightly" plugins/monailabel/tests

zoo-check: env ## Check a copy of the bundle as the Model Zoo does (SCHEMA: file of its metadata's schema)
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python scripts/zoo_check.py $(if $(SCHEMA),--schema $(SCHEMA))

format: env ## Format the code and repair what ruff can repair
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove the environment and the tools' caches
	rm -rf $(VENV) $(LABEL_VENV) .mypy_cache .pytest_cache .ruff_cache bundles/leaf_seg/leaf_seg.egg-info
	find bundles plugins scripts tests -name __pycache__ -prune -exec rm -rf {} +
