# Everything a fresh machine needs: Python 3.11+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN ?= runs/demo-train
export OMP_NUM_THREADS := 1

.PHONY: demo test cover fast lint bench nano speedrun speedrun-rl schemas clean

# The light core: no torch.
$(VENV)/core: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "vtscot needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/dev: $(VENV)/core
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,train]'
	touch $@

# Build the demo dataset, offline, and show what came out.
demo: $(VENV)/core
	$(BIN)/vtscot build --run $(RUN)

# The whole suite on two cores, as CI runs it; a file's tests stay together, for what they set up once.
test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile

# The same with the lines that no test reaches, also in processes of their own; it takes longer.
cover: $(VENV)/dev
	$(BIN)/python -m pytest -n 2 --dist loadfile --cov --cov-report=term:skip-covered

# The suite without lint, up to the first failure.
fast: $(VENV)/dev
	$(BIN)/python -m pytest -n 2 --dist loadfile -x

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Every figure that README and docs quote.
bench: $(VENV)/dev
	$(BIN)/python -m bench

# The tiny base policy that ships with the package, from nothing: some four hours on two cores. Goes on where it was stopped.
CORES ?= 2
nano: $(VENV)/dev
	$(BIN)/python -m torch.distributed.run --standalone --nproc_per_node $(CORES) -m vtscot.sft.nano --out runs/nano

# Demo data, build, cold start from nano, evaluation on held-out videos, report: ten to fifteen minutes on two cores.
SEEDS ?= 0
speedrun: $(VENV)/dev
	$(BIN)/python bench/speedrun.py --seeds $(SEEDS) --out runs/speedrun

# From the speedrun's cold starts on: reinforcement without and with calibration, beside SFT and constants; three seeds.
speedrun-rl: $(VENV)/dev
	$(BIN)/python bench/speedrun_rl.py --out runs/speedrun

schemas: $(VENV)/dev
	$(BIN)/python -m vtscot.schema

clean:
	rm -rf $(VENV) build dist *.egg-info .coverage* .mypy_cache .ruff_cache .pytest_cache
