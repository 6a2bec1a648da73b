PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
PAGES := $(wildcard *.md docs/*.md docs/tutorials/*.md recipes/*.md)
COG := $(BIN)/cog -I tools -p "from page_figures import *"

.PHONY: fit paper-miniature test lint pages docs clean

fit: $(VENV)/installed  ## trains the quickstart recipe to its end
	$(BIN)/python -m keras_vgg.fit --recipe recipes/quickstart.toml

paper-miniature: $(VENV)/installed  ## trains, tests and compares all nets of the paper in miniature: DATASET=folder:PATH
	$(BIN)/snakemake --config study=recipes/paper-miniature.toml $(if $(DATASET),dataset="$(DATASET)") $(CONFIG)

# In halves: TensorFlow does not free all that tests trace and compile, and by the end each process had grown to 11 GB.
test: $(VENV)/installed lint  ## runs the tests
	$(PYTEST) tests/test_[a-k]*.py
	$(PYTEST) tests/test_[l-z]*.py

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell
	$(BIN)/python tools/check_words.py
	$(COG) --check --diff $(PAGES)

pages: $(VENV)/installed  ## writes the tables that pages include from tools/page_figures.py
	$(COG) -r $(PAGES)

docs: $(VENV)/installed  ## builds the documentation into site/
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	$(BIN)/mkdocs build --strict

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable ".[all]" --group dev
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
