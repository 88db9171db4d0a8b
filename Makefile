# Every target does its own set-up in .venv; python3 (3.11 or newer), git and make are all it needs.
#
#   make reproduce              the whole pipeline: data, sweeps, theory, figures, claims, report, MLflow
#   make reproduce SCALE=smoke  the same at another scale: smoke, laptop (default), workstation, accelerator, paper
#                               VERBOSE=1: every finished job on the terminal (work/logs/ always has it)
#   make beyond                 what the paper leaves open (docs/beyond.md): only its sweeps and figures; `make reproduce` has them too
#   make figures                draw the figures again from the results; trains nothing. STYLE=paper|slides
#   make ui                     browse all runs in MLflow on http://127.0.0.1:5000
#   make verify                 train a random sample of the committed runs again and compare, five minutes. RENEW=1: take
#                               results that agree as up to date with the present code; SCALE, MINUTES
#   make test, make lint        pytest on all cores; ruff and mypy. Arguments: make test ARGS="tests/data/test_data.py -x" JOBS=0
#   make docs                   build the documentation as a site in build/docs/
#   make setup                  the environment alone, of what runs the pipeline. VENV=/path/to/env with any target: one of yours, not .venv
#   make clean                  forget everything computed, so that `make reproduce` starts anew
#
# An interrupted target goes on where it stopped when it is called again.

PYTHON ?= python3
SCALE ?= laptop
PORT ?= 5000
STYLE ?=
VERBOSE ?=
RENEW ?=
MINUTES ?= 5
ARGS ?=
JOBS ?= auto

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
TOOLS := $(VENV)/.tools
RECENT := import sys; sys.exit(sys.version_info < (3, 11))

# The stamp names the checkout that the environment was set up for, to which its package and scripts lead.
HERE := test ! -s $(STAMP) || grep -qxF '$(CURDIR)' $(STAMP)
STALE := $(shell test -x $(BIN)/python && { $(HERE); } || echo stale)
PIP := $(BIN)/python -m pip install --help
WORKS := { $(BIN)/python -c '$(RECENT)' && { $(PIP) || { $(BIN)/python -m ensurepip && $(PIP); }; }; } >/dev/null 2>&1

ifeq ($(origin VENV),file)
define ENVIRONMENT
@{ $(HERE); } && $(WORKS) || { \
  $(PYTHON) -c '$(RECENT)' 2>/dev/null || { \
    echo "error: $(PYTHON) is $$($(PYTHON) --version 2>&1); l2dynamics needs Python 3.11 or newer:" \
         "make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 1; }; \
  $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
    echo "error: $(PYTHON) cannot make environments; on Debian and Ubuntu: apt install python3-venv; or name one that" \
         "you have made: make VENV=/path/to/env $(MAKECMDGOALS)" >&2; exit 1; }; \
  $(PYTHON) -m venv --clear $(VENV); }
endef
else
define ENVIRONMENT
@$(WORKS) || { \
  echo "error: VENV=$(VENV): no bin/python of Python 3.11 or newer with pip there; make one by" \
       "\`python3 -m venv\`, \`conda create\` or \`uv venv --seed\`" >&2; exit 1; }
endef
endif

# The stages call `python`: it must be the one of the environment.
export PATH := $(abspath $(BIN)):$(PATH)
export DVC_NO_ANALYTICS := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export L2DYNAMICS_VERBOSE := $(VERBOSE)

.PHONY: help setup tools reproduce beyond verify figures ui docs test lint clean stale
.DELETE_ON_ERROR:

help:
	@sed -n 's/^#   //p' Makefile

setup: $(STAMP)
	@$(BIN)/python scripts/without_git.py

# A .venv that is broken (half made, without pip, moved, or of a Python that is gone) is mended or made anew; an
# environment that was given as VENV is never deleted.
$(STAMP): pyproject.toml constraints.txt $(STALE)
	$(ENVIRONMENT)
	@echo "Installing into $(VENV); the first time takes a few minutes."
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[pipeline]'
	@echo '$(CURDIR)' > $@

# What tests, lint and documentation need besides: as large again, and nothing that runs the pipeline.
$(TOOLS): $(STAMP)
	@echo "Installing the tools for tests, lint and documentation."
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	@touch $@

tools: setup $(TOOLS)

reproduce: setup
	@$(BIN)/python scripts/set_scale.py $(SCALE)
	@$(BIN)/dvc repro fig@S5 # two minutes to a first figure: it needs one sweep only
	@$(BIN)/dvc repro
	@echo "Done: reports/$(SCALE)/README.md (figures and claims), reports/$(SCALE)/index.html (the same, one file); \`make ui\` shows the runs."

beyond: setup
	@$(BIN)/python scripts/set_scale.py $(SCALE)
	@$(BIN)/dvc repro fig@X1 fig@X2 fig@X3 fig@X4 fig@X5
	@echo "Done: reports/$(SCALE)/figures/figX1.png … figX5.png"

verify: setup
	@$(BIN)/python -m l2dynamics verify --scale $(SCALE) --minutes $(MINUTES) $(if $(RENEW),--renew)

figures: setup
	@$(if $(STYLE),$(BIN)/python scripts/set_scale.py --style $(STYLE),:)
	@figures=$$($(BIN)/python scripts/drawable.py) && $(BIN)/dvc repro --single-item code $$figures
	@echo "Done: reports/, figures of the scale in force"

docs: tools
	@$(BIN)/python scripts/make_reference.py
	@$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs
	@echo "Done: build/docs/index.html"

ui: setup
	@$(BIN)/python -m l2dynamics.tracking ui --port $(PORT)

test: tools
	@$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

lint: tools
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

# dvc.lock, the cache and the checkpoints are all that lets DVC skip a stage or a stage go on.
clean:
	@echo "Deleting work/ (checkpoints, finished runs), dvc.lock, .dvc/cache/ and .dvc/tmp/ (what DVC has already computed)"
	@echo "and the caches of pytest, ruff, mypy and hypothesis. Kept: .venv/, results/, reports/, mlflow/."
	rm -rf work dvc.lock .dvc/cache .dvc/tmp .pytest_cache .ruff_cache .mypy_cache .hypothesis
	@echo "\`git checkout dvc.lock\` takes the committed results as up to date again."
