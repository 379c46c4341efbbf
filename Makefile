# Every target installs what it needs: `make demo` runs on a fresh machine that has Python
# 3.11, 3.12 or 3.13.

FITS = import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
# The first Python that fits. A name may exist and not run: pyenv has such names.
ifndef PYTHON
PYTHON := $(firstword $(foreach name,python3 python3.13 python3.12 python3.11,\
  $(shell $(name) -c "$(FITS)" 2> /dev/null && echo $(name))))
endif
PY := .venv/bin/python
# uv links packages from a cache outside the clone; pip would unpack each package again.
UV := .venv/bin/uv
# With this variable uv trusts the certificates of the system, as pip does.
export UV_SYSTEM_CERTS := true
# With this variable each process compiles its imports again, and TensorFlow's import takes
# three times as long.
unexport PYTHONDONTWRITEBYTECODE
# Marks of the tests to run. MARKS=flink runs the tests on a Flink cluster, which need Java;
# MARKS=browser runs the tests of TensorBoard's pages, which need Chromium.
MARKS ?= not perf and not flink and not browser and not chaos and not slow
# Test files run side by side. Half of the time of the slow files is waiting: for time
# limits, cut links and Java. So each core gets two processes, if each has 3 GB of memory.
PROCESSES := $(shell awk -v cores=$$(nproc || echo 1) '/MemTotal/ { \
  most = int($$2 / 3e6) + 1; print most < 2 * cores ? most : 2 * cores }' /proc/meminfo 2> /dev/null)
PARALLEL := --numprocesses=$(or $(PROCESSES),2) --dist=loadfile --no-loadscope-reorder
# `make test ROOM=pipeline/sources` runs the tests of one folder.
ROOMS = $(patsubst tests/%/,%,$(sort $(dir $(wildcard tests/*/*.py tests/*/*/*.py))))
TESTS = $(strip $(ROOM:%=tests/%) $(ARGS))

PEERS := .venv-peers/bin/python

.PHONY: help venv demo test test-all slowest sabotage mutants chaos lint docs audit package versions \
  pythons room bench lock

help:
	@echo "make demo      draws faces, makes a dataset, trains 500 steps"
	@echo "make test      tests that take seconds each; MARKS=flink: tests that need Java;"
	@echo "               ROOM=pipeline/sources: tests of tests/pipeline/sources/"
	@echo "make test-all  all tests but speed tests; needs root, Java and Chromium"
	@echo "make slowest   runs make test-all; writes the slowest twenty into CONTRIBUTING.md"
	@echo "make sabotage  makes mistakes in copies of the code; each must fail a test"
	@echo "make mutants   changes the code in 2,000 small ways; nine in ten must fail a test"
	@echo "make chaos     kills, starves and misleads trainers; writes docs/reliability.md"
	@echo "make lint      format, style and type checks"
	@echo "make audit     known vulnerabilities of the packages in requirements.lock"
	@echo "make package   wheel and sdist in dist/, each installed and tried on its own"
	@echo "make versions  a short run with the lowest and the newest versions of setup.py"
	@echo "make pythons   a few tests on each other Python of this machine"
	@echo "make bench     short measurements of every stage; rows for"
	@echo "               benchmarks/history.csv, plots for benchmarks/RESULTS.md"
	@echo "make docs      the site of the pages, in .site/html; all links are checked"
	@echo "make lock      pins the newest versions that setup.py allows"

PIP = $(PY) -m pip install --quiet --disable-pip-version-check --require-hashes
# .venv is made again only if the lock file changed. If uv fails, pip installs the packages,
# because pip may know a mirror that uv does not know.
venv:
	@test -n "$(PYTHON)" || { \
	  echo "error: found no Python 3.11 to 3.13: install one, or give PYTHON=FILE"; \
	  exit 1; }
	@sha256sum requirements.lock | cmp -s - .venv/lock.sha256 || { \
	  echo "installing the $$(grep -c == requirements.lock) packages of requirements.lock" \
	    "into .venv: half a minute from the cache, some minutes by download" && \
	  $(PYTHON) -m venv --clear .venv && \
	  sed -n '/^uv==/,/# via/p' requirements.lock > .venv/uv.txt && \
	  $(PIP) -r .venv/uv.txt && \
	  { $(UV) pip install --quiet --require-hashes --python $(PY) -r requirements.lock || \
	    $(PIP) -r requirements.lock; } && \
	  sha256sum requirements.lock > .venv/lock.sha256; }

demo: venv
	@echo "1 of 3: 2,000 synthetic faces"
	@test -e demo/faces/img_align_celeba.zip || \
	  $(PY) -m pipeline.synthesize --output=demo/faces --num_images=2000
	@echo "2 of 3: a dataset of 128 px"
	$(PY) -m pipeline.prepare --input=demo/faces --output=demo/dataset --shard_size=64
	@echo "3 of 3: a VAE, 500 steps on two virtual devices; a line every 50 steps"
	$(PY) -m trainer.train --config=configs/celeba.py --dataset=demo/dataset \
	  --workdir=demo/run --virtual_devices=2 --config.global_batch_size=16 \
	  --config.latent_weight=0.0002 --config.num_train_steps=500 \
	  --config.log_every_steps=50 --config.image_every_steps=100 \
	  --config.eval_every_steps=100
	@echo; echo "Pictures by step (originals beside reconstructions; prior samples):"
	@ls demo/run/images/*/*500.png demo/run/images/*/*/*500.png
	@echo; echo "See the run:  .venv/bin/python -m trainer.tensorboard --workdir=demo/run"

room:
	@test -z "$(ROOM)" -o -n "$(filter $(ROOM),$(ROOMS))" || { \
	  echo "error: ROOM=$(ROOM) must be one of the folders of tests/:" $(ROOMS); exit 1; }

test: room venv
	$(if $(TESTS),,@echo "takes 8 to 25 minutes on two cores;" \
	  "one folder: make test ROOM=pipeline/sources; one file: make test ARGS=FILE")
	$(PY) -m pytest -m "$(MARKS)" $(PARALLEL) $(TESTS)

test-all: room venv
	$(if $(ROOM),,@echo "takes 20 to 60 minutes on two cores")
	$(PY) -m pytest -m "not perf" $(PARALLEL) $(TESTS)

# With pipefail the target fails if pytest fails, although the last command succeeds.
slowest: SHELL := bash -o pipefail
slowest: venv
	@echo "takes 20 to 60 minutes on two cores"
	$(PY) -m pytest -m "not perf" $(PARALLEL) --durations=20 | $(PY) -m tests.slowest

# Each mistake of tests/sabotages.py in turn; ARGS=--only=mnist chooses among them.
sabotage: venv
	$(PY) -m tests.sabotage $(ARGS)

# Small changes of each file in tests/mutants.py; ARGS=--only=losses chooses among them.
mutants: venv
	@echo "takes hours for all files; one file: make mutants ARGS=--only=optimization/losses"
	$(PY) -m tests.mutants $(ARGS)

chaos: venv
	CHAOS=full $(PY) -m pytest -m chaos tests/chaos $(ARGS)

lint: venv
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	.venv/bin/lint-imports --no-cache
	$(PY) -m pyright

# Not a part of lint, because it asks pypi.org. Some machines cannot reach pypi.org, and its
# mirrors know no vulnerabilities. Without --strict a package that pypi.org does not know
# would pass.
audit:
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/pip install --quiet --disable-pip-version-check pip-audit
	.venv-audit/bin/pip-audit --strict --disable-pip --require-hashes \
	  --progress-spinner=off -r requirements.lock
	rm -rf .venv-audit

# The wheel is built from the sdist, which proves that the sdist is complete. The wheel and
# the sdist are each tried outside the sources, with the versions of the lock file. The
# build leaves metadata here, which the doctor would take for an installation.
package: venv
	rm -rf dist .venv-package
	$(UV) build --quiet --python $(PY) --out-dir dist; code=$$?; \
	  rm -rf vaeline.egg-info; exit $$code
	@for file in dist/*.whl dist/*.tar.gz; do \
	  $(UV) venv --quiet --clear --python $(PY) .venv-package && \
	  $(UV) pip install --quiet --python .venv-package/bin/python \
	    --constraint requirements.lock "$$file" && \
	  (cd .venv-package && \
	    bin/python -m pipeline.synthesize --output=faces --num_images=40 && \
	    bin/python -m pipeline.prepare --input=faces --output=dataset --image_size=32 && \
	    bin/vaeline doctor --config="$$(bin/python -c \
	      'import configs.celeba_debug as found; print(found.__file__)')" \
	      --dataset=dataset --workdir=run) || exit 1; \
	done
	rm -rf .venv-package

# Not a part of test, because it downloads the newest versions and installs two environments.
versions: venv
	.ci/versions lowest newest

# Tries the other Pythons of this machine, and names each Python that it lacks.
pythons: venv
	.ci/pythons

bench: venv
	@cmp -s benchmarks/peers/requirements.txt .venv-peers/pinned.txt || { \
	  $(PYTHON) -m venv --clear .venv-peers && \
	  $(PEERS) -m pip install --quiet -r benchmarks/peers/requirements.txt && \
	  cp benchmarks/peers/requirements.txt .venv-peers/pinned.txt; }
	$(PY) -m benchmarks.prepare
	$(PY) -m benchmarks.builders --num_images=10000 --image_dtype=uint8 \
	  --systems=ours,tfds,plain
	$(PY) -m benchmarks.input_pipeline --peers_python=$(PEERS) --repeats=2
	$(PY) -m benchmarks.train_step --peers_python=$(PEERS) --repeats=2
	$(PY) -m benchmarks.start_up --num_runs=2
	$(PY) -m benchmarks.overheads
	$(PY) -m benchmarks.replicas --num_rounds=5
	$(PY) -m benchmarks.latent_math --num_images=16000 --num_importance_images=100
	$(PY) -m benchmarks.scaling
	$(PY) -m benchmarks.plots

# The site holds a copy of the tracked files, so that links to sources lead somewhere. Each
# notebook becomes a page, with the outputs that it holds; nothing in it runs.
docs: venv
	@sha256sum docs/requirements.txt | cmp -s - .venv-docs/lock.sha256 || { \
	  $(UV) venv --quiet --clear --python $(PY) .venv-docs && \
	  $(UV) pip install --quiet --require-hashes --python .venv-docs/bin/python \
	    -r docs/requirements.txt && \
	  sha256sum docs/requirements.txt > .venv-docs/lock.sha256; }
	@rm -rf .site && mkdir -p .site/pages
	@git ls-files -z | grep -zv '^tests/golden/.*/' | xargs -0 cp --parents -t .site/pages
	@cp docs/mkdocs.yml .site/
	@.venv-docs/bin/jupyter-nbconvert --log-level=ERROR --to markdown \
	  .site/pages/docs/notebooks/*.ipynb && rm .site/pages/docs/notebooks/*.ipynb
	@grep -rlZ --include='*.md' '\.ipynb' .site/pages | xargs -0 sed -i 's/\.ipynb)/.md)/g'
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict --config-file .site/mkdocs.yml
	@echo "the site is .site/html/index.html"

lock: venv
	$(UV) pip compile --quiet --upgrade --universal --python-version 3.11 \
	  --extra dev --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --no-header --output-file requirements.lock setup.py
