# make demo [IMAGE=scan.nii.gz]   a whole run without Slicer, of a phantom or of your image; writes to out/
# make test                       everything that can be tested without the Slicer application
# make model DATA=DIR             trains cardiac-lv again
# make myo-model DATA=DIR DATA_MYO=DIR   trains cardiac-lv-myo again
# make fill-model DATA=DIR        trains the network that fills slices again
# make bench | lint | format | clean
#
# Each sets up .venv first, once. PYTHON=/path/to/python3 chooses the interpreter (3.10 or later).

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
SUITES = $(wildcard Testing/unit Testing/scene Testing/gui)

export QT_QPA_PLATFORM ?= offscreen
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: setup demo test model myo-model fill-model bench lint format clean

setup: $(READY)

# Again whenever what is to be installed changes.
$(READY): pyproject.toml constraints.txt Testing/setup.sh Testing/system-packages.sh
	bash Testing/setup.sh $(VENV) $(PYTHON)
	touch $@

# The Slicer side is no package of pip's.
demo bench: export PYTHONPATH := $(CURDIR)/CSAMSegment

demo: $(READY)
	$(BIN)/python Testing/demo.py $(if $(IMAGE),--image "$(IMAGE)")

# A process a core. Each holds torch, Qt and the scene, about 1 GB.
test: $(READY)
	$(BIN)/python -m pytest $(SUITES) --numprocesses=auto --maxprocesses=4 --dist=worksteal $(PYTEST_ARGS)

# The shipped model, from the data set it was trained on: cross-validated in two stages, six trainings each.
RECIPE = --extra out/cardiac-lv/Phantoms --card Resources/cardiac-lv/card.json --cross-validate \
  --split Resources/cardiac-lv/folds.json
model: $(READY)
	$(BIN)/python -m csam phantom out/cardiac-lv/Phantoms --count 24 --seed 1000
	$(BIN)/python -m csam train "$(DATA)" $(RECIPE) --out out/cardiac-lv/first --plan Resources/cardiac-lv/plan-1.json
	$(BIN)/python -m csam train "$(DATA)" $(RECIPE) --out out/cardiac-lv/second --plan Resources/cardiac-lv/plan-2.json \
	  --fine-tune out/cardiac-lv/first

# Cavity and myocardium: Sunnybrook's two data sets joined, five stages of six trainings each.
MYO = --extra out/cardiac-lv-myo/Phantoms-closing --card Resources/cardiac-lv-myo/card.json --cross-validate \
  --split Resources/cardiac-lv/folds.json
JOINED = out/cardiac-lv-myo/Joined
PHANTOM = $(BIN)/python -m csam phantom out/cardiac-lv-myo/Phantoms-closing --structure whole-left-ventricle --wall-drawn-thinner 1.125
myo-model: export PYTHONPATH := $(CURDIR)/CSAMSegment
myo-model: $(READY)
	$(BIN)/python Resources/cardiac-lv-myo/join_data_sets.py "$(DATA)" "$(DATA_MYO)" $(JOINED)
	$(PHANTOM) --count 20 --seed 1000
	$(PHANTOM) --count 44 --seed 2000 --thick-walled
	$(BIN)/python -m csam train $(JOINED) $(MYO) --out out/cardiac-lv-myo/1 --plan Resources/cardiac-lv-myo/plan-1.json
	for stage in 2 3 4 5; do \
	  $(BIN)/python -m csam train $(JOINED) $(MYO) --out out/cardiac-lv-myo/$$stage \
	    --plan Resources/cardiac-lv-myo/plan-$$stage.json --fine-tune out/cardiac-lv-myo/$$((stage - 1)) || exit 1; \
	done

# The network that fills slices, 84 minutes of one core.
fill-model: $(READY)
	$(BIN)/python -m csam train-fill --data "$(DATA)" --phantoms 24 --split Resources/cardiac-lv/folds.json \
	  --unseen-fold 0 --unseen-fold 1 --without SC-N-06 --out out/slice-fill

bench: $(READY)
	$(BIN)/python Testing/bench/posterior.py --quick
	@for script in $(sort $(wildcard Testing/bench/bench_*.py)); do echo "== $$script"; $(BIN)/python $$script || exit 1; done

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) out build .pytest_cache .ruff_cache .hypothesis CSAMSegment/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
