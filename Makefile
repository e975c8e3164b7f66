# `make demo` and `make test` need only Python 3.11+, make and git; everything else goes into .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Python keeps what it compiles, whatever the shell says: every test process imports torch.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo test tests quick lint types generate map docs parity conformance-wild packages matrix bench clean

help:  ## show the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/ -/'

# --no-compile: most of the 16,000 files are never imported, and those that are get compiled then.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

# Without what only the tests need.
$(VENV)/.demo: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[examples]'
	@touch $@

demo: $(VENV)/.demo  ## train on real digits, then infer safely; ARGS="--model lenet5" for another model
	$(BIN)/python examples/train_digits.py $(ARGS)

# pyright takes one core for a while, so it runs beside the first tests.
test: $(STAMP)  ## every check and every test, as CI runs them
	$(MAKE) --no-print-directory --jobs 2 lint types tests

tests: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadgroup

quick: $(STAMP)  ## the quick tests: about a minute on two cores
	$(BIN)/python -m pytest -m "not slow" -n 2

lint: $(STAMP)  ## ruff: style and formatting; import-linter: no room imports one above it
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo --no-cache

types: $(STAMP)  ## pyright strict on src
	$(BIN)/pyright --pythonpath $(BIN)/python

generate: $(STAMP)  ## rewrite what is made from code: the stub and pages of the models, the pages of the checks, the proofs
	$(BIN)/python tests/models/test_one_list.py
	$(BIN)/python -m tests.models.test_docs
	$(BIN)/python -m tinynets.testing.pages docs/checks
	TINYNETS_ALL=1 TINYNETS_OVERWRITE=1 $(BIN)/python -m pytest -q tests/prove/test_zoo.py

map:  ## what every file of the library is about, a line each; make map | grep note
	@$(PYTHON) tests/list_files.py

docs: $(STAMP)  ## build the documentation into site/; warnings are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

parity:  ## compare the zoo with torchvision and timm, in an environment of its own
	$(PYTHON) -m venv $(VENV)-parity
	$(VENV)-parity/bin/python -m pip install --quiet --disable-pip-version-check torch==2.14.1 torchvision==0.29.1
	$(VENV)-parity/bin/python -m pip install --quiet --disable-pip-version-check timm==1.0.31 torchinfo==1.8.0 \
		lightning==2.6.6 transformers==5.24.0 accelerate==1.15.0 pytest pytest-xdist hypothesis -e '.[examples]'
	$(VENV)-parity/bin/python -m pytest tests/parity tests/explain/test_partners.py tests/prove/test_partners.py \
		tests/examples/test_recipes.py \
		tests/test_docs.py::test_the_pages_with_partners_run

conformance-wild:  ## check architectures of ten other packages, in an environment of its own
	$(PYTHON) -m venv $(VENV)-wild
	$(VENV)-wild/bin/python -m pip install --quiet --disable-pip-version-check torch==2.14.1 torchvision==0.29.1
	$(VENV)-wild/bin/python -m pip install --quiet --disable-pip-version-check -r tests/wild/requirements.txt pytest hypothesis -e .
	$(VENV)-wild/bin/python -m pytest tests/test_docs.py::test_the_page_of_findings_in_other_packages_runs
	$(VENV)-wild/bin/python -m tests.wild.run $(ARGS)

packages:  ## the import hook on public packages, in an environment of its own: crashes, lies, cost
	$(PYTHON) -m venv $(VENV)-packages
	$(VENV)-packages/bin/python -m pip install --quiet --disable-pip-version-check torch==2.14.1 torchvision==0.29.1 \
		jaxtyping==0.3.11 beartype==0.23.1 pytest scipy -r benchmarks/packages.txt -e .
	$(VENV)-packages/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
		-r benchmarks/packages_alone.txt  # they pin old dependencies, or have some that are not imported
	$(VENV)-packages/bin/python benchmarks/packages.py --folder $(VENV)-packages/sdist $(ARGS)

matrix:  ## the quick tests on every supported torch and Python, each in an environment of its own; ARGS="torch2.9.1"
	$(PYTHON) tests/matrix.py $(ARGS)

bench: $(STAMP)  ## the figures of the README, one thread, sides interleaved
	$(BIN)/python benchmarks/contract.py
	$(BIN)/python benchmarks/import_time.py
	$(BIN)/python benchmarks/modes.py

clean:  ## remove the environment and all caches
	rm -rf $(VENV) $(VENV)-parity $(VENV)-wild $(VENV)-packages .venv-matrix .pytest_cache .ruff_cache .mypy_cache .hypothesis dist build site
