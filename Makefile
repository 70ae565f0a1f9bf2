PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help env demo test test-slow lint format clean

help: ## Show the targets
	@sed -n 's/^\([a-z-]*\):.*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 12

env: $(VENV)/.installed ## Make .venv with leaf_seg (editable) and the tools for its tests

$(VENV)/.created:
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.installed: $(VENV)/.created setup.cfg pyproject.toml constraints.txt
	$(BIN)/pip install -c constraints.txt -e ".[test]"
	touch $@

demo: env ## Train, evaluate and segment on generated phantoms (at most 10 minutes on 2 cores)
	$(BIN)/python scripts/demo.py

test: lint ## Check style and types, and run the tests that are not slow
	$(BIN)/pytest -m "not slow"

test-slow: env ## Run the tests that take minutes
	$(BIN)/pytest -m slow

lint: env ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: env ## Format the code and repair what ruff can repair
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove the environment and the tools' caches
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache bundles/leaf_seg/leaf_seg.egg-info
	find bundles scripts tests -name __pycache__ -prune -exec rm -rf {} +
