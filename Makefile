# Two commands on a fresh machine with Python 3.11: `make demo` and `make test`.
PYTHON ?= python3
EXTRAS ?= cpu,test
BIN := .venv/bin
# By file, in the order of tests/support/longest_first.py.
SHARED_OUT := --numprocesses 2 --dist loadfile --no-loadscope-reorder

.PHONY: .venv demo test soak docs lint constraints clean

demo: .venv
	$(BIN)/cli demo

test: .venv lint
	$(BIN)/pytest $(SHARED_OUT)

# Every case of the tests, then accidents done to caches, for hours; docs/reliability.md says what came of them.
soak: .venv
	$(BIN)/pytest $(SHARED_OUT) --exhaustive
	cd tests && ../$(BIN)/python -m soak
	cd tests && ../$(BIN)/python -m soak.cluster
	$(BIN)/python tests/soak/hostile.py
	cd tests && ../$(BIN)/python -m soak.strangers
	@test -n "$(MEDIA)" || echo "no fuzzed media: make soak MEDIA=FOLDER with pictures and clips does it as well"
	@test -z "$(MEDIA)" || (cd tests && ../$(BIN)/python -m soak.fuzz_media --material "$(abspath $(MEDIA))" --out ../build/fuzz)

# The pages as a site, in build/site/index.html.
docs: .venv
	$(BIN)/pip install -qq --constraint constraints.txt --editable '.[$(EXTRAS),docs]'
	$(BIN)/python tools/build_docs.py

lint: .venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy

.venv: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; try make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -qq --upgrade pip
	$(BIN)/pip install -qq --constraint constraints.txt --editable '.[$(EXTRAS)]'
	touch $@

# Resolve anew what `.venv` installs; run it to move to newer releases, then commit the result.
constraints:
	rm -rf .venv
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -qq --upgrade pip
	$(BIN)/pip install -qq --editable '.[cpu,test,cluster,kaggle,notebook,docs]'
	$(BIN)/pip freeze --exclude-editable > constraints.txt

clean:
	rm -rf .venv build demo *.egg-info
