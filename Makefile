# What a newcomer runs: `make demo` and `make test`. Everything else serves the people who change the code.
PYTHON  ?= python3.11
BIN     := .venv/bin
FOOTAGE ?= inference_core/demo/two_hands.mp4
DEMO    ?= demo
# A Blender with a window, for the drive by mouse: a program that knows `run`, `engine` and `shot`.
DUOHAND_BLENDER_WINDOW ?= $(firstword $(wildcard ../shared/tools/blender43))
# The bundled clip's lens; other footage gets the default unless told (make demo FOOTAGE=... LENS="--fov 70").
LENS    ?= $(if $(filter inference_core/demo/%,$(FOOTAGE)),--fov 52)

# Two processes run the tests side by side; threads of their own would only be in each other's way.
export OMP_NUM_THREADS ?= 1
export OMP_WAIT_POLICY ?= PASSIVE
# glibc's allocator otherwise gives large tensors back to the system each time: up to four times slower.
export MALLOC_MMAP_THRESHOLD_ ?= 4294967296
export MALLOC_TRIM_THRESHOLD_ ?= 34359738368
export MALLOC_TOP_PAD_        ?= 268435456

.PHONY: demo test test-blender test-training gui-test test-all addon bench fuzz soak lint format clean

.venv/.ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet --editable ".[plot,train,test,dev]"
	$(BIN)/python -m pip install --quiet --no-deps mediapipe==0.10.21
	touch $@

.venv-bpy45/.ready:
	$(PYTHON) -m tools.blender_environments 4.5

demo: .venv/.ready .venv-bpy45/.ready
	mkdir -p $(DEMO)
	env -u OMP_NUM_THREADS $(BIN)/duohand reconstruct "$(FOOTAGE)" $(LENS) --out $(DEMO)/demo.npz --preview $(DEMO)/demo.mp4
	$(BIN)/duohand inspect $(DEMO)/demo.npz
	.venv-bpy45/bin/python -m tools.blender_command $(DEMO)/demo.npz \
		--blend $(DEMO)/demo.blend --fbx $(DEMO)/demo.fbx --picture $(DEMO)/demo.png
	@echo "Look at $(DEMO)/: demo.mp4 (the hands over the plate), demo.blend, demo.fbx, demo.png"

test: .venv/.ready
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not gui"

test-training: .venv/.ready
	OMP_NUM_THREADS=2 $(BIN)/python -m pytest -m slow tests

test-blender: .venv/.ready
	$(PYTHON) -m tools.blender_tests 4.2 4.5 5.0 5.2

# In another Python: test-313 is that of Blender 5.2, with numpy 2.
test-3%:
	$(PYTHON) -m tools.other_python 3.$*

gui-test: .venv/.ready
	DUOHAND_BLENDER_WINDOW="$(DUOHAND_BLENDER_WINDOW)" $(BIN)/python -m pytest -m gui tests/gui

test-all: lint test test-training test-blender gui-test

addon: .venv/.ready
	$(BIN)/python build_addon.py

# Some three hours on two cores with FOOTAGE="one_hand.mp4 two_hands.mp4", most of it the ten minutes.
bench: .venv/.ready
	$(BIN)/python -m benchmarks.against_mediapipe $(FOOTAGE)
	$(BIN)/python -m benchmarks.against_mediapipe $(FOOTAGE) --height 1080
	$(BIN)/python -m benchmarks.against_mediapipe $(FOOTAGE) --busy
	$(BIN)/python -m benchmarks.against_mediapipe $(FOOTAGE) --rounds 1 --minutes 1
	$(BIN)/python -m benchmarks.against_mediapipe $(FOOTAGE) --rounds 1 --minutes 10
	OMP_NUM_THREADS=2 $(BIN)/python -m benchmarks.reconstruct $(FOOTAGE)
	OMP_NUM_THREADS=2 $(BIN)/python -m benchmarks.landmarks $(FOOTAGE)
	OMP_NUM_THREADS=2 $(BIN)/python -m benchmarks.network --network dir-release
	OMP_NUM_THREADS=2 $(BIN)/python -m benchmarks.network --network dir-s
	.venv-bpy45/bin/python -m benchmarks.blender_keys

# The readers of files and messages against damaged ones; MINUTES=3 for a short run.
fuzz: .venv/.ready
	$(BIN)/python -m tools.fuzz --minutes $(or $(MINUTES),20)

# Captures through one engine, some killed, some beside another; MINUTES=3 for a short run. Linux only.
soak: .venv/.ready
	$(BIN)/python -m tools.soak $(if $(MINUTES),--minutes $(MINUTES))

lint: .venv/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: .venv/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .venv-* dist demo runs .pytest_cache .ruff_cache .hypothesis
