# What a newcomer runs: `make demo` and `make test`. Everything else serves the people who change the code.
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
FOOTAGE ?= inference_core/demo/two_hands.mp4
DEMO   ?= demo
# Threads a test process may use; tests run in parallel processes.
export OMP_NUM_THREADS ?= 1

.PHONY: demo test test-blender test-training test-export gui-test test-all addon bench lint format clean

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet torch==2.13.0
	$(BIN)/pip install --quiet --editable ".[train,test,dev]"
	$(BIN)/pip install --quiet --no-deps mediapipe==0.10.21
	touch $@

test: $(VENV)/.ready
	$(BIN)/python -m pytest -n 2 -m "not slow and not blender and not gui and not export"

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
