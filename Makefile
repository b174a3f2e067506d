# Two commands for newcomers, each doing all its own set-up from a fresh clone:
#   make demo   compare several methods on the shipped model, then teach it something it could not do, and write a report of each
#   make test   lint, types, import directions, generated tables, tests
# They need Python 3.11 or newer with venv, and nothing else.

.DEFAULT_GOAL := help
.PHONY: help demo test docs tables readme bench picture steps clean
SHELL := /bin/bash

BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

help:
	@sed -n '1,/^$$/s/^# \{0,1\}//p' Makefile

demo: .venv/.core
	$(BIN)/reasonry compare --model pocket-1m --task 'arithmetic?steps=3' --problems 150 --budget 96,192,384
	$(BIN)/reasonry train --model pocket-1m --sft 'arithmetic?steps=4' --solver 'single?temperature=0' --set max_tokens=96 \
		--steps 40 --lr 1e-3 --set warmup=4 --set batch_tokens=2048 --evaluate 200

test: .venv/.test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python tools/tables.py --check
	$(BIN)/python -m pytest -n auto --dist worksteal

# For maintainers.

docs: .venv/.docs
	$(BIN)/python tools/tables.py
	$(BIN)/mkdocs build --strict

tables: .venv/.core
	$(BIN)/python tools/tables.py

readme: .venv/.core
	$(BIN)/python tools/readme.py

picture:  # of the newest report; needs chromium
	chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=1000,1080 --screenshot=docs/report.png \
		"file://$$(ls -td $(CURDIR)/runs/compare-*/report.html | head -n 1)"

steps: .venv/.core  # the picture of a sudoku being solved, one that was not trained on
	$(BIN)/reasonry solve --model trm-sudoku9 --out docs/trm-steps.svg '..4....13/5..3...../..6.....4/.459.1.../8...2.5../96.....7./48.2..7../6..13..8./1.76...92'

bench: .venv/.test
	$(BIN)/python tools/bench.py

clean:
	rm -rf .venv runs site dist

# Set-up: one environment, one stamp per set of extras; repeated only when the pins or the project file change.

.venv/bin/python:
	@python=; for p in python3.11 python3 python3.12 python3.13 python3.14; do \
		$$p -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { python=$$p; break; }; done; \
	if [ -z "$$python" ]; then echo "Reasonry needs Python 3.11 or newer with venv; install it (for example: python3.11 and python3.11-venv) and try again" >&2; exit 1; fi; \
	echo "Making .venv with $$($$python --version)"; $$python -m venv .venv

.venv/.core: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing reasonry (once; torch is the large part)"
	$(PIP) --editable .
	@touch $@

.venv/.test: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing reasonry with what its tests use (once; some minutes)"
	$(PIP) --editable '.[test]'
	@$(PIP) --editable '.[gym]' || echo "Note: reasoning-gym did not install (one of its parts needs a C compiler); its tests will be skipped"
	@touch $@

.venv/.docs: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) --editable '.[docs]'
	@touch $@
