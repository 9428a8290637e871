# The front door: `make quickstart` to listen, `make study` for the study, `make test` for the code, `make help` for the rest.
# Needs Python 3.11, make and a C compiler; everything else is installed into .venv on first use.

PROFILE ?= pocket
RUNS ?= runs
MIRROR ?=
CONCEPTS ?=
CLASS_NOUN ?=
SEEDS ?=
N_SEEDS ?=
STAGE ?=
QUESTIONNAIRE ?=
SURVEY ?=
SETUPS ?= all
CLUSTER ?=
KEEP ?= all
CORES ?=
THREADS ?= 1
ENGINE ?=
REPOSITORY ?=
FAMILY ?=

# `python3.11` may be a launcher that knows no 3.11, so it is asked for its version.
PYTHON ?= $(firstword $(foreach p,python3.11 python3 python,\
  $(if $(filter 3.11,$(shell $(p) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)),$(p))))
VENV := .venv
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/installed.lock
GRID_ENGINE := .venv-grid/installed.lock
CHECKED := tmp_utils tests notebooks
# glibc keeps the memory of large tensors, and need not fault its pages in anew: 3 % quicker. Elsewhere without effect.
export MALLOC_MMAP_THRESHOLD_ ?= 1073741824
export MALLOC_TRIM_THRESHOLD_ ?= 1073741824
# CONCEPTS='"my drums" sitar' where a name has spaces.
OPTIONS = --profile $(PROFILE) --runs-dir "$(RUNS)" \
  $(if $(strip $(CONCEPTS)),--concepts $(CONCEPTS)) $(if $(strip $(SEEDS)),--seeds $(SEEDS)) \
  $(if $(strip $(N_SEEDS)),--n-seeds $(N_SEEDS))

.DEFAULT_GOAL := help
.PHONY: help setup quickstart study test lint format bench bench-gpu gpu-evening lab survey grid test-slurm notebooks-smoke readme-figures pocket clips-paper fake-backbone colab clean
.DELETE_ON_ERROR:

help:  ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo '  Settings: PROFILE=pocket|paper|smoke|...  CONCEPTS="sitar path/to/folder"  SEEDS="0 1" (which) or N_SEEDS=2 (how many)'
	@echo '            RUNS=folder  STAGE=clap  MIRROR=folder (study: keeps copies of its runs)'
	@echo '  Quickstart: CONCEPTS=path/to/folder  CLASS_NOUN="drum beat" (what the recordings are)'
	@echo '  Survey: SURVEY="--about my-study.toml --share"  SURVEY="--export answers.csv"  SURVEY=--help'
	@echo '  fake-backbone: FAMILY=audioldm-m|audioldm2|stable-audio-open|stable-audio-3-small|ace-step-1.5'
	@echo '  Grid: SETUPS="TI-BL DB-BL"  CORES=2  THREADS=1  CLUSTER=slurm  KEEP=clips (no adapters)'

setup: $(INSTALLED)  ## create .venv and install the locked packages; the other commands do so themselves

quickstart: $(INSTALLED)  ## learn one concept in a minute and write runs/<profile>/quickstart.html, a page to listen to
	@$(PY) -m tmp_utils quickstart $(OPTIONS) $(if $(CLASS_NOUN),--class-noun "$(CLASS_NOUN)")

study: $(INSTALLED)  ## run the notebooks and write runs/<profile>/report/index.html; skips what is done
	@$(PY) -m tmp_utils study $(OPTIONS) $(if $(MIRROR),--mirror "$(MIRROR)")

test: $(INSTALLED)  ## run the tests
	@$(PY) -m pytest -q --numprocesses=auto --dist=loadfile --no-loadscope-reorder

lint: $(INSTALLED)  ## check style, format and that notebooks have no outputs
	@$(PY) -m ruff check $(CHECKED)
	@$(PY) -m ruff format --check $(CHECKED)
	@$(PY) -m nbstripout --verify $(wildcard notebooks/*.ipynb) </dev/null

format: $(INSTALLED)  ## fix style and format, and strip the notebooks' outputs
	@$(PY) -m ruff check --fix $(CHECKED)
	@$(PY) -m ruff format $(CHECKED)
	@$(PY) -m nbstripout $(wildcard notebooks/*.ipynb) </dev/null

bench: $(INSTALLED)  ## time our steps beside the paper's public code, on the same weights
	@$(PY) -m tmp_utils bench --profile $(PROFILE) --runs-dir "$(RUNS)"

bench-gpu: $(INSTALLED)  ## the same at AudioLDM-M's size with random weights; needs a CUDA GPU
	@$(PY) -m tmp_utils bench --gpu --runs-dir "$(RUNS)"

gpu-evening: $(INSTALLED)  ## measure what needs a GPU, in under 9 minutes, into data/published/gpu.csv; continues if interrupted
	@$(PY) -m tmp_utils bench --evening --runs-dir "$(RUNS)"

lab: $(INSTALLED)  ## open the notebooks in JupyterLab
	@$(PY) -m jupyterlab --notebook-dir notebooks

survey: $(INSTALLED)  ## build the listening study from the runs and serve its page; QUESTIONNAIRE=folder serves an existing one
	@$(PY) -m tmp_utils survey --profile $(PROFILE) --runs-dir "$(RUNS)" $(if $(strip $(CONCEPTS)),--concepts $(CONCEPTS)) $(if $(QUESTIONNAIRE),--questionnaire "$(QUESTIONNAIRE)") $(SURVEY)

grid: $(INSTALLED) $(GRID_ENGINE)  ## make many runs: CONCEPTS=all SETUPS=all N_SEEDS=2, on CORES=n or with CLUSTER=slurm
	@$(PY) -m tmp_utils grid $(OPTIONS) --setups $(SETUPS) --threads $(THREADS) --keep $(KEEP) $(if $(CORES),--cores $(CORES)) $(if $(CLUSTER),--cluster $(CLUSTER)) \
	  $(if $(ENGINE),--engine-options='$(ENGINE)')

test-slurm: $(INSTALLED) $(GRID_ENGINE)  ## run a small grid on a one-node SLURM and kill a worker; as root, on Debian
	@tests/slurm/run

notebooks-smoke: $(INSTALLED)  ## execute every notebook at smoke size, 00 and 07 too, in a temporary folder
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	  $(PY) -m tmp_utils quickstart --profile smoke --runs-dir "$$folder" && \
	  $(PY) -m tmp_utils study --profile smoke --all --runs-dir "$$folder"

readme-figures: $(INSTALLED)  ## make the README's picture and table again from results
	@$(PY) -m tmp_utils readme --profile $(PROFILE) --runs-dir "$(RUNS)"

pocket: $(INSTALLED)  ## train the pocket model again, all of it or STAGE=...; estimates its time first
	@$(PY) -m tmp_utils pocket $(STAGE)

clips-paper: $(INSTALLED)  ## fetch the paper's own clips into runs/; needs a network and ffmpeg
	@$(PY) -m tmp_utils clips-paper

fake-backbone: $(INSTALLED)  ## write a model of published size with random weights, and a profile that runs with it; FAMILY=...
	@$(PY) -m tmp_utils fake-backbone "$(RUNS)/fake" $(if $(FAMILY),--family $(FAMILY))

colab: $(INSTALLED)  ## write the Colab set-up cell into every notebook; REPOSITORY=https://... is the project's address
	@$(PY) -m tmp_utils colab $(if $(REPOSITORY),--repository "$(REPOSITORY)")

clean:  ## delete caches; .venv and runs/ stay (delete them by hand)
	@rm -rf .pytest_cache .ruff_cache build dist
	@find $(CHECKED) -depth \( -name __pycache__ -o -name .ipynb_checkpoints \) -exec rm -rf {} +

# Torch comes first and unchecked, since a machine may have a build of its own; then every file of the lock is checked by
# its hash. The last install adds what only some machines need: the libraries that torch wants for a GPU, at the versions
# that it names, and a few packages for Windows or macOS.
# The stamp is a copy of the lock, so that a checkout that only touches dates installs nothing.
$(INSTALLED): requirements.lock
	@if cmp -s $< $@; then touch $@; else $(MAKE) --no-print-directory install; fi

# Snakemake's pins do not fit beside the study's, so it has an environment of its own.
$(GRID_ENGINE): notebooks/grid.lock $(INSTALLED)
	@test -x .venv-grid/bin/python || { echo "Creating .venv-grid for the grid's engine"; $(PYTHON) -m venv .venv-grid; }
	@.venv-grid/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r notebooks/grid.lock
	@cp $< $@

.PHONY: install
install:
	@test -n "$(PYTHON)" || { echo 'No Python 3.11 found. Install it (python.org, pyenv, or your system'\''s' \
	  'packages), or say where it is: make PYTHON=/path/to/python3.11 ...' >&2; exit 1; }
	@command -v cc >/dev/null || command -v gcc >/dev/null || command -v clang >/dev/null || { echo 'No C compiler found; two packages are built from source.' \
	  'Install gcc or clang (build-essential on Debian, xcode-select --install on macOS).' >&2; exit 1; }
	@test -x $(PY) || { echo "Creating $(VENV) with $(PYTHON)"; $(PYTHON) -m venv $(VENV); }
	@echo "Installing the packages of requirements.lock into $(VENV): some minutes, once"
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps $$(grep -o '^torch==[^ ]*' requirements.lock)
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	@$(PY) -m pip install --quiet --disable-pip-version-check -e '.[lab,pocket,survey,clips,dev]'
	@cp requirements.lock $(INSTALLED)
