# Everything here is a thin call; where make is missing, run the lines themselves in an environment made by
#   python -m venv .venv && .venv/bin/pip install -c constraints.txt -e ".[book,test]"

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
BENCH := .venv/.installed-bench
BROWSER := .venv/.installed-browser
LINT := .venv/.installed-lint

# One BLAS thread: more change the last digits, and the work is already parallel over notebooks and tests.
export OPENBLAS_NUM_THREADS := 1
export OMP_NUM_THREADS := 1
export DLN_CACHE := off
# Containers often set it: then every kernel and every command that `make test` starts would compile all modules anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: env book html pdf test test-rounding browser-test lint dist bench pins clean

env: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "make: this needs Python 3.11 or newer as $(PYTHON); name another with make PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "make: $(PYTHON) lacks venv; install it (on Debian: apt install python3-venv)"; exit 1; }
	$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -q uv || { echo "make: no package index was reached; check the network or pip's configuration"; exit 1; }
	$(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt -e ".[book,test]"
	@touch $@

$(BENCH): $(STAMP)
	$(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt -e ".[book,test,bench]"
	@touch $@

$(BROWSER): $(STAMP)
	$(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt -e ".[book,test,pdf,browser]"
	@touch $@

$(LINT): $(STAMP)
	$(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt -e ".[book,test,pdf,lint]"
	@touch $@

book: $(STAMP)
	$(BIN)/dln run
	$(BIN)/dln build

html: $(STAMP)
	$(BIN)/dln build --committed

pdf: $(BROWSER)
	$(BIN)/dln pdf

test: $(STAMP)
	$(BIN)/python -m pytest -n 2

# Every notebook with three other roundings: what fails here fails on somebody's machine. CI runs one of them.
test-rounding: $(STAMP)
	for kind in own haswell nehalem; do DLN_ROUNDING=$$kind $(BIN)/python -m pytest notebooks -n 2 || exit 1; done

# Built once here, not once a worker; worksteal keeps the tests of a page together, so that it is opened once.
browser-test: $(BROWSER)
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || { echo "make: no chromium was found, which opens the pages; install it (on Debian: apt install chromium)"; exit 1; }
	$(BIN)/dln build --committed $(if $(DLN_PYODIDE),--pyodide $(DLN_PYODIDE))
	DLN_SITE=_build/html $(BIN)/python -m pytest tests/browser -o addopts="" -n 2 --dist worksteal || { \
	  echo "make: what failed is tried once more, alone: a browser that had to wait passes now, a defect fails again"; \
	  DLN_SITE=_build/html $(BIN)/python -m pytest tests/browser -o addopts="" --last-failed --last-failed-no-failures none; }

lint: $(LINT)
	$(BIN)/ruff check
	$(BIN)/python -m dlnutils.press.examples _build/lint
	$(BIN)/pyright
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format --default-filetype yaml CITATION.cff

# The two files of a release in _build/dist, made as a package index would make them; nothing is sent anywhere.
dist: $(LINT)
	rm -rf _build/dist
	$(BIN)/python -m build --outdir _build/dist
	$(BIN)/python -m twine check --strict _build/dist/*

bench: $(BENCH)
	mkdir -p _build
	$(BIN)/python -m pytest benchmarks -o addopts="" --benchmark-json=_build/bench.json
	@echo "the record is records/bench.json"

# After a change of the packages in pyproject.toml: what is pinned stays as it is; take its line out of constraints.txt to renew it.
pins: $(STAMP)
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --no-annotate --no-header -q -o constraints.txt

clean:
	rm -rf _build .pytest_cache .ruff_cache
