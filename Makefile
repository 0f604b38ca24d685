# Every target makes what it needs, first of all a private Python environment in .venv.
# PYTHON=python3.12 chooses the interpreter that the environment is made with.

PYTHON ?= python3
BIN := .venv/bin
LISTING := .cache/servers.json
# One more than the cores of a small machine: many tests wait, for locks or for servers that come back.
WORKERS ?= 3

# The tests of what a crash, a broken wire, a hand or a strange value may do: those that try more when asked to.
SOAK := tests/test_closures.py tests/test_crash.py tests/test_model.py tests/test_load.py tests/test_interruptions.py tests/test_exact_properties.py

.PHONY: help demo check test soak bench lint format golden wheel servers clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/.demo ## show the package at work, on two private PostgreSQL servers
	$(BIN)/datajoint-link demo

check: lint ## style, types, what needs no server, one quick job on PostgreSQL: for every commit
	$(BIN)/pytest --quick --numprocesses 2 --dist worksteal

test: lint ## check and test everything, on real MySQL, MariaDB and PostgreSQL servers
	$(BIN)/pytest --numprocesses $(WORKERS) --dist worksteal

soak: .venv/.dev ## the tests of safety and exactness, at full size and for hours (SOAK=tests/test_load.py for one of them)
	LINK_SOAK=1 $(BIN)/pytest $(SOAK)

bench: .venv/.dev ## measure speed and memory beside their peers (BENCH="--quick" or "--only full-mysql" for less)
	$(BIN)/python benchmarks/bench.py $(BENCH)

lint: .venv/.dev ## check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: .venv/.dev ## put the code into shape
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

golden: .venv/.dev ## write the texts of our SQL, docs/cli.md and the tutorial's outputs anew: read the difference
	LINK_GOLDEN=write $(BIN)/pytest -q tests/test_golden.py tests/test_cli_docs.py tests/test_notebook.py

wheel: .venv/.dev ## build what is published, into dist, and check its metadata
	$(BIN)/python -m build --installer uv
	$(BIN)/twine check --strict dist/*

servers: .venv/.dev ## run the test servers until Ctrl-C (then LINK_TEST_SERVERS=.cache/servers.json make test)
	DJ_IGNORE_CONFIG_FILE=true $(BIN)/python tests/fleet.py $(LISTING)

clean: ## remove the environment and all caches, the fetched servers too
	rm -rf .venv .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist src/*.egg-info
	rm -rf "$${XDG_CACHE_HOME:-$$HOME/.cache}/datajoint-link-tests"
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps make a second run quick; both kinds of installation share one environment.
.venv/.dev: pyproject.toml Makefile .venv/.python
	$(BIN)/python -m pip install --quiet --editable . --group dev
	@touch $@

.venv/.demo: pyproject.toml Makefile .venv/.python
	$(BIN)/python -m pip install --quiet --editable '.[embedded,demo]'
	@touch $@

.venv/.python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.10 or newer is needed: make PYTHON=python3.12 ..." if sys.version_info < (3, 10) else 0)'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@touch $@
