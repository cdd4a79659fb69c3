# Everything runs in .venv, which these targets make and keep up to date by themselves; they need
# CPython 3.11 or later, git and make. Another interpreter: make PYTHON=python3.12 …

PYTHON ?= python3
VENV ?= .venv
# A config and options for `make train`: make train CONFIG=smoke ARGS="--set seed=1"
CONFIG ?=
# Options for pytest under `make test`: make test ARGS="-k cards"
ARGS ?=

# The bundles for `make test-load` and `make soak-stream`; without one, a tiny model.
LOAD_BUNDLE ?=
STREAM_BUNDLE ?=

# The original files for `make benchmarks`, in folders goemotions, esconv and epitome.
SOURCES ?= originals

BIN := $(VENV)/bin
# What is built in isolation is pinned too, hence --build-constraint.
# Not compiled: most of these modules are never imported, and Python compiles the others by itself.
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile \
	--constraint constraints.txt --build-constraint constraints.txt
PINS := pyproject.toml constraints.txt

.PHONY: help train test test-errors test-page test-report test-proxy test-adapters test-service test-load mlflow-test soak-batch soak-stream test-ray
.PHONY: test-label-studio test-own-labels
.PHONY: compare-services lint format benchmark benchmarks release clean
.DEFAULT_GOAL := help

help: ## say what the targets do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

train: $(VENV)/.train ## train the default config on the shipped data: models/tactful, mlflow.db
	$(BIN)/tactful train $(CONFIG) $(ARGS)

# Files go to as many processes as there are processors, each with one thread for its arithmetic:
# a test alone uses one, and most of its time is starting programs.
test: $(VENV)/.dev ## run the tests; some of them: make test ARGS="-k cards"
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses=logical --dist=loadfile $(ARGS)

# What MLflow, a service with the extra registry, and Spark have installed: nothing of training.
mlflow-test: $(VENV)/.dev ## registered models in environments without torch; that of Spark needs Java
	@for part in mlflow registry spark; do \
		$(PYTHON) -m venv $(VENV)/light-$$part && $(VENV)/light-$$part/bin/python -m pip install \
			--quiet --disable-pip-version-check --constraint constraints.txt pip || exit 1; \
	done
	@$(VENV)/light-mlflow/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt numpy onnxruntime tokenizers typer pandas mlflow
	@$(VENV)/light-registry/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --build-constraint constraints.txt '.[registry]'
	@$(VENV)/light-spark/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --build-constraint constraints.txt '.[spark]'
	TACTFUL_MLFLOW_PYTHON=$(abspath $(VENV))/light-mlflow/bin/python \
	TACTFUL_REGISTRY_PYTHON=$(abspath $(VENV))/light-registry/bin/python \
	TACTFUL_SPARK_PYTHON=$(abspath $(VENV))/light-spark/bin/python \
		$(BIN)/python -m pytest -m slow tests/slow/test_registered_model.py $(ARGS)

soak-batch: $(VENV)/.dev ## a batch job killed 20 times, and its memory on 300,000 rows (minutes)
	$(BIN)/python -m pytest tests/slow/test_batch_soak.py $(ARGS)

soak-stream: $(VENV)/.dev ## memory of 50,000 replies beside that of 5,000 (minutes)
	STREAM_BUNDLE=$(STREAM_BUNDLE) $(BIN)/python -m pytest -s tests/slow/test_stream_memory.py $(ARGS)

test-ray: $(VENV)/.ray ## batch jobs on a local Ray cluster (installs ray)
	$(BIN)/python -m pytest tests/slow/test_batch_ray.py $(ARGS)

test-page: $(VENV)/.dev ## the pages in a real browser (installs playwright; needs chromium)
	@$(PIP_INSTALL) --group page
	$(BIN)/python -m pytest tests/serving/server/check_page.py \
		tests/serving/report/check_report.py $(ARGS)

test-report: $(VENV)/.dev ## time and memory of a report of 50,000 replies by 200 agents (minutes)
	$(BIN)/python -m pytest -s -m slow tests/slow/test_report_scale.py $(ARGS)

test-errors: $(VENV)/.dev ## how many planted label errors `tactful data errors` finds (minutes)
	$(BIN)/python -m pytest -s -m slow tests/slow/test_planted_label_errors.py $(ARGS)

# In an environment of its own: it brings a hundred packages, in versions of its own.
test-label-studio: $(VENV)/.dev ## Label Studio itself imports what is exported (installs it; minutes)
	@$(PYTHON) -m venv $(VENV)/label-studio
	@$(VENV)/label-studio/bin/python -m pip install --quiet --disable-pip-version-check label-studio
	TACTFUL_LABEL_STUDIO=$(abspath $(VENV))/label-studio/bin/label-studio \
		$(BIN)/python -m pytest -s -m slow tests/slow/test_label_studio.py $(ARGS)

test-own-labels: $(VENV)/.train $(VENV)/.dev ## docs/your_own_labels.md with the default encoder (minutes)
	$(BIN)/python -m pytest -s -m slow tests/slow/test_own_labels.py $(ARGS)

test-proxy: $(VENV)/.dev ## the service behind a real nginx, which must be installed
	@command -v nginx >/dev/null || { echo "nginx is missing; Debian: apt-get install nginx-light"; exit 1; }
	$(BIN)/python -m pytest tests/serving/server/test_proxy.py $(ARGS)

test-service: $(VENV)/.dev ## 5,000 hostile bodies and more of schemathesis' examples to the service
	HOSTILE_BODIES=5000 SCHEMA_EXAMPLES=100 $(BIN)/python -m pytest -s $(ARGS) \
		tests/serving/server/test_hostile.py tests/serving/server/test_openapi.py

test-load: $(VENV)/.dev ## the service under load (minutes); LOAD_BUNDLE=models/tactful for a real model
	LOAD_SECONDS=60 LOAD_BUNDLE=$(LOAD_BUNDLE) LOAD_THREADS=$(shell nproc) $(BIN)/python -m pytest \
		-s $(ARGS) tests/serving/server/test_load.py

test-adapters: $(VENV)/.dev ## hub, signing, v2, traces, MCP, SQL: each where its extra is installed alone
	$(BIN)/python -m pytest -m slow tests/slow/test_adapters_alone.py $(ARGS)

compare-services: $(VENV)/.dev ## tactful serve beside mlflow models serve and a pipeline; needs make train
	$(BIN)/python tests/slow/compare_services.py models:/tactful@champion

lint: $(VENV)/.dev ## ruff (rules and format), mypy, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo

format: $(VENV)/.dev ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

benchmark: $(VENV)/.train ## models/tactful beside transformers and onnxruntime: a table, benchmark.png
	$(BIN)/tactful benchmark --plot benchmark.png $(ARGS)

# Eleven trainings, one after the other; what is there already is not made again, and a training that
# was interrupted goes on. Each figure is also a target of its own: make benchmarks/esconv.json.
GOEMOTIONS := 13 14 15
EPITOME := 1 2 3 4 5
RESULTS := $(GOEMOTIONS:%=benchmarks/goemotions-%.json) benchmarks/goemotions-small.json \
	benchmarks/esconv.json \
	benchmarks/esconv-reply-only.json $(EPITOME:%=benchmarks/epitome-%.json)

benchmarks: $(RESULTS) ## train and measure on public sets (hours), SOURCES=FOLDER: docs/benchmarks.md
	@$(BIN)/python -m tactful_training.data.public.published_results
.NOTPARALLEL: # trainings side by side would only starve each other

BUNDLES := $(RESULTS:benchmarks/%.json=models/%/manifest.json)
.SECONDARY: $(BUNDLES)

# $(call trained,CONFIG,DATA,OPTIONS) and $(call measured,DATA): the bundle is named like the result.
trained = $(BIN)/tactful train $(1) --set data.folder=$(2) $(3) --out $(@D)

define measured
@mkdir -p benchmarks
$(BIN)/tactful evaluate --bundle models/$(basename $(@F)) --data $(1) --json > $@.part
@mv $@.part $@
endef

models/goemotions-%/manifest.json: data_cards/goemotions/test.jsonl | $(VENV)/.train
	$(call trained,goemotions,data_cards/goemotions,--set seed=$*)

# The form of configs/small.yaml: three layers, rare pieces left out; there is no teacher for it.
models/goemotions-small/manifest.json: data_cards/goemotions/test.jsonl | $(VENV)/.train
	$(call trained,goemotions,data_cards/goemotions,--set 'encoder.layers=[0, 3, 5]' \
		--set encoder.pieces_left_out=rare_pieces.txt --set training.learning_rate=1.0e-4 \
		--set training.epochs=5)

models/esconv/manifest.json: data_cards/esconv/test.jsonl | $(VENV)/.train
	$(call trained,esconv,data_cards/esconv)

models/esconv-reply-only/manifest.json: data_cards/esconv/test.jsonl | $(VENV)/.train
	$(call trained,esconv,data_cards/esconv,--set name=esconv-reply-only --set encoding.use_context=false)

models/epitome-%/manifest.json: data_sets/epitome-%/test.jsonl | $(VENV)/.train
	$(call trained,epitome,data_sets/epitome-$*)

benchmarks/goemotions-%.json: models/goemotions-%/manifest.json
	$(call measured,data_cards/goemotions)

benchmarks/esconv.json benchmarks/esconv-reply-only.json: benchmarks/%.json: models/%/manifest.json
	$(call measured,data_cards/esconv)

benchmarks/epitome-%.json: models/epitome-%/manifest.json
	$(call measured,data_sets/epitome-$*)

data_cards/goemotions/test.jsonl data_cards/esconv/test.jsonl: data_cards/%/test.jsonl: | $(VENV)/.train
	$(BIN)/tactful data prepare $* --source $(SOURCES)/$*

data_sets/epitome-%/test.jsonl: | $(VENV)/.train
	$(BIN)/tactful data prepare epitome --source $(SOURCES)/epitome --fold $* --out data_sets/epitome-$*

.PRECIOUS: data_sets/epitome-%/test.jsonl

release: $(VENV)/.train ## dist/: a wheel that carries models/tactful, and it as an archive with sha256
	$(BIN)/python -m tactful_training.bundling.release models/tactful dist

clean: ## remove .venv, dist and caches; keeps models, runs and mlflow.db
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find serving training tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment grows in three steps, each renewed when a pin or a dependency changes.
$(VENV)/.pip: $(PINS)
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit(f"tactful needs CPython 3.11 or later, this is {v[0]}.{v[1]}; run make PYTHON=python3.11")'
	@echo "Setting up $(VENV) with the pinned packages; the first time takes some minutes."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt pip
	@touch $@

$(VENV)/.train: $(VENV)/.pip
	@$(PIP_INSTALL) --editable '.[train,data,offline,server,client,batch,registry,sweep,report]'
	@touch $@

$(VENV)/.ray: $(VENV)/.dev
	@$(PIP_INSTALL) --editable '.[ray]'
	@touch $@

$(VENV)/.dev: $(VENV)/.train
	@$(PIP_INSTALL) --editable '.[hub,sign,mcp,duckdb,otel,croissant]' --group dev
	@touch $@
