# Everything needs only Python (3.11 to 3.13) and pip: the virtual environment is made on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# TORCH=cpu takes the small builds without CUDA, for laptops
TORCH ?=
PIP_TORCH := $(if $(filter cpu,$(TORCH)),--extra-index-url https://download.pytorch.org/whl/cpu,)
# one process more than cores, as some tests wait for others
PROCESSES = $$($(BIN)/python -c 'import os; print(min(8, 1 + (os.cpu_count() or 1)))')
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder
DEMO := runs/demo
PROBE := readouts=[four_blocks] strengths=[0.01]

.PHONY: help install format check test test-all parity demo sample sample-segment bench docs clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

install: $(VENV)/.installed  ## Make .venv with the tested versions (TORCH=cpu: without CUDA)

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt $(PIP_TORCH) -e ".[dev]"
	@touch $@

format: install  ## Rewrite the code in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

check: install  ## Style and types; changes nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: install  ## The tests, in a few minutes
	$(PYTEST) -m "not slow"

test-all: install  ## The tests and the long ones
	$(PYTEST)

parity: install  ## Our ViT against an independent one
	$(PYTEST) tests/parity

demo: install  ## Pre-train a small student on chest phantoms and show what it learned
	rm -rf $(DEMO) packs/demo
	$(BIN)/python prepare.py data=phantom data.pack=packs/demo source.num_films=2600 size=128
	$(BIN)/python train.py experiment=demo_pretrain data.pack=packs/demo hydra.run.dir=$(DEMO)
	$(BIN)/python evaluate.py run=$(DEMO) $(PROBE) features=random
	$(BIN)/python evaluate.py run=$(DEMO) $(PROBE) against=[$(DEMO)/evaluation/random]
	$(BIN)/python -m evax.report curves $(DEMO)
	$(BIN)/python -m evax.report gained $(DEMO)/evaluation/backbone
	@echo "Look at: $(DEMO)/figures (what the student sees and predicts, curves.png), $(DEMO)/metrics.csv,"
	@echo "         $(DEMO)/evaluation/backbone/summary.txt (probe before and after)"

sample: install  ## Fine-tune on real films, three ways and seeds (EVAX_SHARED); stopped, it goes on when given again
	PATH="$(CURDIR)/$(BIN):$$PATH" bash tools/sample.sh

sample-segment: install  ## Segment lungs and lesions on real films, from scratch and pre-trained (EVAX_SHARED); goes on
	PATH="$(CURDIR)/$(BIN):$$PATH" bash tools/segment.sh

bench: install  ## Speeds, as ratios in one run, with a summary at the end
	$(BIN)/python -m benchmarks

docs: install  ## Rebuild docs/results.md from results/
	$(BIN)/python -m evax.report results

clean:  ## Remove the environment and caches; packs and runs stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache build src/*.egg-info
