# install: .venv with everything; demo: the whole job on rendered images; test: all tests, two at a time; lint: style.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := demo-runs
AUGMENT := $(BIN)/augment

.PHONY: install demo test lint clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/python -m uv pip install --python $(BIN)/python -c constraints.txt -e '.[dev]'
	touch $@

# One defect of one rendered part. Stopped, it goes on where it was; `make clean` starts it anew.
demo: $(STAMP)
	$(AUGMENT) sample $(DEMO)/sample
	$(AUGMENT) fit $(DEMO)/sample/bottle/chipped --workspace $(DEMO) --recipe quick
	$(AUGMENT) synthesize -n 20 --workspace $(DEMO)
	$(AUGMENT) benchmark --workspace $(DEMO)

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf $(DEMO) build dist .pytest_cache .ruff_cache
