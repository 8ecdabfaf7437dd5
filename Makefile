# Two commands set everything up on a bare machine with Python 3.11+: `make compare` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= profuse-out/glyphs
# few epochs, so that it ends within five minutes on two cores, none anew on training and validation rows, which costs as
# much again, no fits without each modality, no questions at the end; more test rows and one more split than usual, so that
# a gain of two points shows
EPOCHS ?= 5
STUDY ?= profuse-out/progressive
PORTFOLIOS ?= profuse-out/portfolios
MISSING ?= profuse-out/missing
# tests start many processes: each would compile the project anew
test test-slow: export PYTHONDONTWRITEBYTECODE =

.PHONY: compare test test-slow test-all lint docs study-progressive study-portfolio study-missing clean

compare: $(VENV)/.user  ## the main job on the embedded data set; ends by naming its report
	$(BIN)/profuse compare glyphs --epochs $(EPOCHS) --no-refit --learning-rate 0.003 --seeds 4 --test-size 0.3 --questions none --no-retrain-without --out $(OUT)

test: $(VENV)/.dev  ## the fast suite
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "not slow" -n 3 --dist worksteal

test-slow: $(VENV)/.dev  ## the slow suite
	OMP_NUM_THREADS=1 $(BIN)/pytest -m slow -n 3 --dist worksteal

test-all: test test-slow  ## both

lint: $(VENV)/.dev  ## style and types
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

docs: $(VENV)/.docs  ## the site of docs/, in build/site: open index.html there; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

study-progressive: $(VENV)/.dev  ## Progressive Fusion's claims put to the test: hours; goes on where it stopped
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/quality/progressive/study.py --out $(STUDY)
	$(BIN)/python benchmarks/quality/progressive/page.py $(STUDY) --page docs/results/progressive.md

study-portfolio: $(VENV)/.dev  ## portfolios against their members and tuned rivals on the named data: hours; goes on where it stopped
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/quality/portfolios.py --out $(PORTFOLIOS) --page docs/results/portfolio.md
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/quality/rivals.py --out $(PORTFOLIOS) --page docs/results/portfolio.md

study-missing: $(VENV)/.dev  ## what to do about missing modalities: hours; goes on where it stopped
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/quality/missing.py --out $(MISSING) --page docs/results/missing.md

# pip takes exactly the versions that constraints.txt names: an unpinned torch brings gigabytes of CUDA packages
$(VENV)/.user: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@ $(VENV)/.user

$(VENV)/.docs: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	touch $@ $(VENV)/.user

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

clean:  ## removes the environment and what comparisons wrote
	rm -rf $(VENV) profuse-out build/site
