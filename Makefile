# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# PyTorch offers a CPU-only index; set TORCH_INDEX_URL to it to avoid the CUDA build.
TORCH_INDEX := $(if $(TORCH_INDEX_URL),--index-url $(TORCH_INDEX_URL),)
# What is never imported need not be compiled: half of the set-up's time. What is, Python compiles and keeps at its first import,
# so that must not be forbidden: every process of the tests would compile everything again.
unexport PYTHONDONTWRITEBYTECODE
PIP    := $(BIN)/python -m pip --disable-pip-version-check install --no-compile --quiet --constraint constraints.txt

.PHONY: demo test behaviour soak lint setup clean
setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Mixwright needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) $(TORCH_INDEX) torch
	$(PIP) --editable '.[dev,fast,neware,arbin]'
	touch $@

demo: setup
	$(BIN)/mixwright run examples/lpscl_sulfur.yaml
	@echo
	@echo "The same question asked of a lab, before its first result, by the physics fitted to the published measurements:"
	$(BIN)/mixwright propose examples/lpscl_sulfur_lab.yaml -q 4

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy benchmarks
	$(BIN)/lint-imports

# Types are checked beside the tests: these wait often enough for a server or a browser.
test: setup
	$(MAKE) --no-print-directory -j 2 lint behaviour

behaviour: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'not soak' -n 2 --dist worksteal --durations 25

soak: setup
	$(BIN)/python -m pytest -m soak --timeout 7200

clean:
	rm -rf $(VENV) data build *.egg-info
