# `make help` lists what there is. The work is in scripts/ and in the modelyard command.
SHELL := /bin/sh
.DEFAULT_GOAL := help
MODELYARD := .venv/bin/modelyard
BENCHMARKS := $(sort $(patsubst benchmarks/bench_%.py,%,$(wildcard benchmarks/bench_*.py)))

.PHONY: help setup run up test check unit fix nightly bench stop clean distclean secrets lock

help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z%-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '  %s\n' 'Benchmarks: $(or $(BENCHMARKS),none yet)'

setup: ## Make .venv with everything pinned (TORCH_PIP_ARGS, PYTHON)
	@scripts/setup.sh

run: setup ## Start everything and take a real model through the whole loop (ARGS=--interactive)
	@$(MODELYARD) demo $(ARGS)

up: setup ## Start the platform for models of your own, without the demo
	@$(MODELYARD) up $(ARGS)

test: setup check ## All checks and tests, with coverage
	@scripts/test.sh

check: setup ## Style, types, import contracts, secrets, doctests, docs
	@scripts/check.sh

unit: setup ## Only the quick tests
	@.venv/bin/python -m pytest -q tests/unit $(ARGS)

fix: setup ## Mend what ruff can mend
	@.venv/bin/ruff check --fix --quiet . ; .venv/bin/ruff format .

nightly: ## The whole demo in a clone without state, verified, and all benchmarks
	@scripts/nightly.sh

bench: setup ## All benchmarks, one after the other
	@set -e; for name in $(BENCHMARKS); do $(MAKE) --no-print-directory "bench-$$name"; done

bench-%: setup ## One benchmark (ARGS="--help": what it takes)
	@test -f benchmarks/bench_$*.py || { echo "no benchmark $*; there are: $(BENCHMARKS)" >&2; exit 2; }
	@.venv/bin/python benchmarks/bench_$*.py $(ARGS)

stop: ## Stop the platform; its state is kept
	@scripts/stop.sh

clean: ## Stop the platform and remove its state (var/)
	@scripts/stop.sh --remove

distclean: clean ## clean, and remove .venv and all caches
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage* build dist

secrets: setup ## Make the secret files that docker-compose.yaml wants
	@.venv/bin/python -m modelyard.runtime.containers deploy/private

lock: setup ## Pin anew what requirements/*.in ask for
	@.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-emit-find-links \
		--override requirements/no-torch.txt requirements/requirements.in requirements/dev.in \
		-o requirements/requirements.lock
	@echo 'lock: requirements/requirements.lock is new; run make test'
