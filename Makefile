# Every target works alone in a fresh clone: it makes .venv first, and finds it there the next time.
PYTHON ?= python3
PIP_ARGS ?=
WORKERS ?= 2

BIN := .venv/bin
STAMP := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help venv venv-upstream venv-lowest demo test test-slow test-upstream test-reuse test-lowest test-wheel lint docs

help:
	@echo 'make demo        the whole loop on synthetic endoscopy: choose, pre-train, fine-tune, compare (8 minutes)'
	@echo 'make test        the fast tests'
	@echo 'make test-slow   the others'
	@echo 'make test-upstream   the fast tests with mmengine, a compiled mmcv and torch 2.1, in .venv-upstream (Python 3.10)'
	@echo 'make test-reuse      stock projects of mmpretrain and mmseg in .venv-upstream, and the same subsets as in .venv'
	@echo 'make test-lowest     the same with the lowest versions that setup.py accepts, in .venv-lowest (Python 3.10)'
	@echo 'make test-wheel      the wheel in an empty environment outside the clone, with what installed users type (7 GB for a while)'
	@echo 'make lint        formatting, lint and types'
	@echo 'make docs        the documents as a site, build/docs/index.html; a broken link or docstring is an error'
	@echo 'make venv        only the environment that all of these use, .venv (about 6 GB: torch with CUDA)'
	@echo
	@echo 'PYTHON=python3.12           the interpreter that .venv is made with, 3.10 or newer'
	@echo 'PIP_ARGS="--index-url ..."  more arguments for pip, for instance an index with CPU-only builds of torch;'
	@echo '                            a torch of the version in constraints.txt that .venv already holds is kept'
	@echo 'PYTHON310=/path/python3.10  the interpreter of the two others, found by itself on PATH and in ~/.pyenv'
	@echo 'WORKERS=4                   as many processes run tests, 2 by default; each holds about 1.5 GB'

venv: $(STAMP)

$(STAMP): setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	    echo "mmdel needs Python 3.10 or newer; '$(PYTHON)' is not. Name another one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "'$(PYTHON)' cannot make virtual environments. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install $(PIP_ARGS) -c constraints.txt -e '.[onedl,cpu,dev]'
	@touch $@

# The stacks that people have installed already. mmcv is compiled for one torch; a wheel of it is looked for beside the project.
PYTHON310 ?= $(firstword $(foreach python,python3.10 $(wildcard $(HOME)/.pyenv/versions/3.10.*/bin/python3.10),\
    $(shell $(python) -c 'import sys; print(sys.executable)' 2>/dev/null)))
MMCV_WHEEL ?= $(firstword $(wildcard ../shared/wheels/mmcv-2.1.0-cp310-cp310-linux_x86_64.whl))

.venv-upstream/.installed .venv-lowest/.installed: .venv-%/.installed: constraints-%.txt setup.py
	@test -n "$(PYTHON310)" || { echo 'This needs Python 3.10: make PYTHON310=/path/python3.10 ...' >&2; exit 1; }
	test -x $(@D)/bin/pip || $(PYTHON310) -m venv $(@D)
	$(@D)/bin/python -m pip install $(PIP_ARGS) -c $< torch torchvision numpy opencv-python setuptools wheel
	@test -n "$(MMCV_WHEEL)" || echo 'No wheel of mmcv beside the project: it is compiled now, which takes 20 to 60 minutes.'
	MMCV_WITH_OPS=1 $(@D)/bin/python -m pip install $(PIP_ARGS) -c $< $(if $(MMCV_WHEEL),$(MMCV_WHEEL),--no-build-isolation mmcv)
	$(@D)/bin/python -m pip install $(PIP_ARGS) -c $< mmengine mmpretrain mmsegmentation ftfy regex
	$(@D)/bin/python -m pip install $(PIP_ARGS) -c $< -e '.[cpu,hash,test]'
	@touch $@

venv-upstream venv-lowest: venv-%: .venv-%/.installed

test-upstream test-lowest: test-%: .venv-%/.installed
	.venv-$*/bin/python -m mmdel doctor
	.venv-$*/bin/python -m pytest -m 'not slow' -n $(WORKERS) --dist worksteal

# Stock configs under their own tools, and both environments compared: the same vectors give the same subset.
test-reuse: .venv-upstream/.installed $(STAMP)
	MMDEL_OTHER_PYTHON=$(BIN)/python .venv-upstream/bin/python -m pytest -m slow -n $(WORKERS) --dist worksteal tests/test_reuse

# `make test-slow` runs the same in an environment that borrows the libraries of .venv.
test-wheel: $(STAMP)
	MMDEL_EMPTY='$(PIP_ARGS) -c $(CURDIR)/constraints.txt' $(BIN)/python -m pytest -m slow tests/test_installed.py

demo: $(STAMP)
	$(BIN)/python tools/demo.py

# The workers fill the cores: further threads of one would only wait for those of the other, and spin meanwhile.
test test-slow test-upstream test-reuse test-lowest: export OMP_WAIT_POLICY = PASSIVE
test test-slow test-upstream test-reuse test-lowest: export OMP_NUM_THREADS = 1

test: $(STAMP)
	$(BIN)/python -m pytest -m 'not slow' -n $(WORKERS) --dist worksteal

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow -n $(WORKERS) --dist loadfile --durations=20 --ignore=tests/test_reuse

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(STAMP)
	$(BIN)/python -m sphinx -W --keep-going -b html docs build/docs
