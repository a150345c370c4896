# make demo: the app with the bundled model, at http://localhost:7860
# make test: the whole test suite
# Each sets itself up in .venv, on any machine with Python 3.11 or newer.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: demo test fuzz lint bench gpu train evaluate clean

demo: $(VENV)/.app
	$(BIN)/python app.py $(ARGS)

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --no-loadscope-reorder $(ARGS)

fuzz: $(VENV)/.dev
	P2P_FUZZ=1000 $(BIN)/python -m pytest tests/test_photos.py -k mutated -s $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks.speed $(ARGS)

gpu: $(VENV)/.dev
	$(BIN)/python -m benchmarks.gpu $(ARGS)

train: $(VENV)/.dev
	$(BIN)/python -m storybook.train $(ARGS)

evaluate: $(VENV)/.dev
	$(BIN)/python -m storybook.evaluate $(ARGS)

$(VENV)/.python:
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed')"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	touch $@

$(VENV)/.app: $(VENV)/.python requirements.txt
	$(BIN)/python -m pip install --quiet -r requirements.txt
	touch $@

$(VENV)/.dev: $(VENV)/.app requirements-train.txt requirements-dev.txt
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis
