# make demo: see it work; make test: the checks that users can run; make check: all that continuous integration does.
# Each installs into .venv first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= runs/demo
EXTRAS ?= dev
INSTALLED = $(VENV)/.installed-$(EXTRAS)

# As many test processes as cores, of one thread each; JOBS=0 runs the tests in one process.
JOBS ?= logical
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --maxprocesses 8 --dist worksteal -rs

# Percent of the lines of src/ that the tests must reach.
COVERED := 97

# The runtime of exported pages, which a test opens in a browser; without npm or a network that test is skipped.
WEB := node_modules/onnxruntime-web/package.json

.PHONY: demo test test-slow lint site check bench install env-executorch env-litert audit faults fuzz release
.DELETE_ON_ERROR:

demo: $(INSTALLED)
	$(BIN)/stkd demo --out $(OUT)

test: $(INSTALLED)
	$(PYTEST) -m "not slow and not services" $(REPORT)

test-slow: $(INSTALLED) $(WEB)
	$(PYTEST) -m "slow or services" $(REPORT)

lint: $(INSTALLED)
	$(BIN)/pre-commit run --all-files

site: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

check:
	$(MAKE) EXTRAS=ci lint
	$(MAKE) EXTRAS=ci site
	$(MAKE) EXTRAS=ci test REPORT="--cov --cov-report="
	$(MAKE) EXTRAS=ci test-slow REPORT="--cov --cov-append --cov-report=term --cov-fail-under=$(COVERED)"

bench: $(INSTALLED)
	$(BIN)/stkd bench --teacher resnet56 --student resnet20
	$(BIN)/stkd bench --teacher resnet32x4 --student resnet8x4
	$(BIN)/stkd bench --teacher wrn_40_2 --student wrn_16_2

# Known weaknesses of the tested versions; it fails where one is found, or a package is not known to the index
audit:
	$(PYTHON) -m venv .envs/audit
	.envs/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	.envs/audit/bin/pip-audit --strict --requirement constraints.txt --no-deps --disable-pip

fuzz: $(INSTALLED)
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check atheris
	$(BIN)/python benchmarks/fuzz.py --result results/fuzz.json

# Processes that are killed or stopped at every kind of write; every file that is read again, cut and with a flipped bit
faults: $(INSTALLED)
	rm -rf runs/faults results/faults.json
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/faults.py --work runs/faults --result results/faults.json

# A wheel and an sdist in dist/, and a student from the wheel in an environment of its own
release:
	rm -rf dist .envs/release
	$(PYTHON) -m venv .envs/release
	.envs/release/bin/python -m pip install --quiet --disable-pip-version-check build twine
	.envs/release/bin/python -m build --outdir dist . > /dev/null
	.envs/release/bin/python -m twine check --strict dist/*
	.envs/release/bin/python -m pip install --quiet --disable-pip-version-check $(CONSTRAINTS) dist/*.whl
	cd dist && ../.envs/release/bin/stkd list methods > /dev/null
	cd dist && ../.envs/release/bin/stkd train --data digits --model cnn4 --epochs 1 --out $$(mktemp -d)/run

install: $(INSTALLED)

$(WEB): src/stkd/export/web/runtime.py
	-npm install --prefix . --no-save --no-package-lock --no-audit --no-fund --ignore-scripts --loglevel=error \
		onnxruntime-web@$$(sed -n 's/^VERSION = "\(.*\)"/\1/p' $<) && touch $@

# Environments of export formats whose tools do not fit beside stkd's PyTorch, see docs/export.md
env-executorch: PACKAGES = executorch==1.5.1 torch==2.14.1
env-litert: PACKAGES = litert-torch==0.10.0 torch==2.14.1
env-executorch env-litert: env-%:
	$(PYTHON) -m venv .envs/$*
	.envs/$*/bin/python -m pip install --quiet --disable-pip-version-check $(PACKAGES)

# Constraints are the tested versions; an install that they do not fit can leave them out with CONSTRAINTS=
CONSTRAINTS ?= -c constraints.txt
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "stkd needs Python 3.11 or newer, this is %d.%d; run make PYTHON=python3.11" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(CONSTRAINTS) -e '.[$(EXTRAS)]'
	touch $@
