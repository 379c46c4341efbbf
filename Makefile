# Every target sets up what it needs: `make demo` on a fresh machine with a Python of
# 3.11 to 3.13.

FITS = import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
# The first that fits. A name may be there and not run, as pyenv has them.
ifndef PYTHON
PYTHON := $(firstword $(foreach name,python3 python3.13 python3.12 python3.11,\
  $(shell $(name) -c "$(FITS)" 2> /dev/null && echo $(name))))
endif
PY := .venv/bin/python
# Which tests: MARKS=flink are those on a Flink cluster, which need Java; MARKS=browser
# those of TensorBoard's pages, which need Chromium.
MARKS ?= not perf and not flink and not browser and not chaos and not slow
# Files of tests beside each other: a process for each core.
PARALLEL := --numprocesses=$(shell nproc 2> /dev/null || echo 2) --dist=loadfile --no-loadscope-reorder

PEERS := .venv-peers/bin/python

.PHONY: help venv demo test test-all chaos lint audit package versions bench lock

help:
	@echo "make demo   synthetic faces -> dataset -> a few hundred training steps"
	@echo "make test   the tests that take seconds each; MARKS=flink are those that need Java"
	@echo "make test-all  all tests but those of speed; needs root, Java and Chromium"
	@echo "make chaos  kills, starves and misleads trainers; writes docs/reliability.md"
	@echo "make lint   format, style and type checks"
	@echo "make audit  known vulnerabilities of what requirements.lock pins"
	@echo "make package  wheel and sdist in dist/, each installed and tried on its own"
	@echo "make versions  a short run with the lowest and the newest versions of setup.py"
	@echo "make bench  measures every stage in a short form; see benchmarks/RESULTS.md"
	@echo "make lock   pins the newest versions that setup.py allows"

# Reused as long as the lock file says the same.
venv:
	@test -n "$(PYTHON)" || { \
	  echo "error: no Python of 3.11 to 3.13 is found: install one, or give PYTHON=FILE"; \
	  exit 1; }
	@sha256sum requirements.lock | cmp -s - .venv/lock.sha256 || { \
	  $(PYTHON) -m venv --clear .venv && \
	  $(PY) -m pip install --quiet --disable-pip-version-check -r requirements.lock && \
	  sha256sum requirements.lock > .venv/lock.sha256; }

demo: venv
	@test -e demo/faces/img_align_celeba.zip || \
	  $(PY) -m pipeline.synthesize --output=demo/faces --num_images=2000
	$(PY) -m pipeline.prepare --input=demo/faces --output=demo/dataset --shard_size=64
	$(PY) -m trainer.train --config=configs/celeba.py --dataset=demo/dataset \
	  --workdir=demo/run --virtual_devices=2 --config.global_batch_size=16 \
	  --config.latent_weight=0.0002 --config.num_train_steps=500 \
	  --config.log_every_steps=50 --config.image_every_steps=100 \
	  --config.eval_every_steps=100
	@echo; echo "Pictures by step (originals beside reconstructions; prior samples):"
	@ls demo/run/images/*/*500.png demo/run/images/*/*/*500.png
	@echo; echo "See the run:  .venv/bin/python -m trainer.tensorboard --workdir=demo/run"

test: venv
	@echo "About a quarter of an hour on two cores; a file's name alone: make test ARGS=FILE"
	$(PY) -m pytest -m "$(MARKS)" $(PARALLEL) $(ARGS)

test-all: venv
	@echo "About half an hour on two cores"
	$(PY) -m pytest -m "not perf" $(PARALLEL) $(ARGS)

chaos: venv
	CHAOS=full $(PY) -m pytest -m chaos tests/chaos $(ARGS)

lint: venv
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m pyright

# Not a part of lint: it asks pypi.org, which is not reached from everywhere, and a
# mirror of its files knows no vulnerabilities. Strict, since what is not known there
# would pass.
audit:
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/pip install --quiet --disable-pip-version-check pip-audit
	.venv-audit/bin/pip-audit --strict --disable-pip --require-hashes \
	  --progress-spinner=off -r requirements.lock
	rm -rf .venv-audit

# The wheel is built from the sdist, so that this one is complete. Both are tried
# outside of the sources, with the versions of the lock file.
package:
	rm -rf dist .venv-package
	$(PYTHON) -m venv .venv-package
	.venv-package/bin/pip install --quiet --disable-pip-version-check build
	.venv-package/bin/python -m build --outdir dist > /dev/null
	$(PYTHON) -m venv --clear .venv-package
	sed -n 's/^\([a-z0-9.-]*==[^ ;]*\).*/\1/p' requirements.lock > .venv-package/pins.txt
	@for file in dist/*.whl dist/*.tar.gz; do \
	  .venv-package/bin/pip install --quiet --disable-pip-version-check \
	    --constraint .venv-package/pins.txt "$$file" && \
	  (cd .venv-package && rm -rf faces dataset && \
	    bin/python -m pipeline.synthesize --output=faces --num_images=40 && \
	    bin/python -m pipeline.prepare --input=faces --output=dataset --image_size=32 && \
	    bin/python -m trainer.doctor --config="$$(bin/python -c \
	      'import configs.celeba_debug as found; print(found.__file__)')" \
	      --dataset=dataset --workdir=run) && \
	  .venv-package/bin/pip uninstall --quiet --yes vaeline || exit 1; \
	done
	rm -rf .venv-package

# Not a part of test: it asks for the newest versions, and installs two environments.
versions:
	PYTHON=$(PYTHON) .ci/versions lowest newest

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

lock:
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet uv
	.venv-lock/bin/uv pip compile --quiet --upgrade --extra dev --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-header \
	  --output-file requirements.lock setup.py
	rm -rf .venv-lock
