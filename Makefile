# make demo: the app with the bundled model, at http://localhost:7860
# make check: linters, types and unit tests, in less than a minute
# make test: the whole test suite
# Each sets itself up in .venv, on any machine with Python 3.11 or newer.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
NPM := $(shell command -v npm)

.PHONY: demo check unit test fuzz lint lint-js bench gpu train evaluate clean

demo: $(VENV)/.app
	$(BIN)/python app.py $(ARGS)

check: $(VENV)/.dev
	@$(MAKE) --no-print-directory -j 2 lint unit

unit: $(VENV)/.dev
	$(BIN)/python -m pytest tests/unit $(ARGS)

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --no-loadscope-reorder $(ARGS)

fuzz: $(VENV)/.dev
	P2P_FUZZ=1000 $(BIN)/python -m pytest tests/engine/test_large_pictures.py -k mutated -s $(ARGS)

lint: $(VENV)/.dev lint-js
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	find p2p_app -name '*.pyi' -delete  # Gradio writes them beside components, and mypy would believe old ones
	$(BIN)/mypy

lint-js: $(if $(NPM),node_modules/.installed)
	@$(if $(NPM),node_modules/.bin/biome check,echo "Scripts and style sheet are not checked: npm is missing.")

node_modules/.installed: package-lock.json
	npm ci --silent --no-audit --no-fund
	touch $@

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
	rm -rf $(VENV) node_modules .pytest_cache .ruff_cache .mypy_cache .hypothesis
