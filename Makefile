# Thin on purpose: everything is in dev.py, which also runs without make.
PYTHON ?= python3
ARGS ?=

.PHONY: help setup run test chaos bench docs lock clean

help:
	@"$(PYTHON)" dev.py help

setup run test bench docs lock:
	@"$(PYTHON)" dev.py $@ $(ARGS)

# The long fault tests; their short forms are among the others.
chaos:
	@"$(PYTHON)" dev.py test -n 1 -m chaos --timeout 1800 $(ARGS)

clean:
	rm -rf .venv .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -prune -exec rm -rf {} +
