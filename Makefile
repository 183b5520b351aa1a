# make run: install what is missing, fetch the models, start. make test: everything that can be tested without the GPU packages.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: run test test-gpu-stack lint types talk doctor bench screenshots clean

run: $(VENV)/installed
	@exec $(BIN)/python main.py

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest

# The GPU image's Python packages, as far as they can be had without NVIDIA's index, and what can be tested with them: 6 GB, Python 3.10.
test-gpu-stack:
	bash tests/gpu_stack/run.sh

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .

types: $(VENV)/installed-dev
	$(BIN)/mypy fusion/core fusion/wire

talk: $(VENV)/installed
	@$(BIN)/python main.py talk $(FILE)

doctor: $(VENV)/installed
	@$(BIN)/python main.py doctor

# BEFORE=DIR: the same for an older checkout. PICTURE=FILE.png: drawn. ONLY=voice,barge-in: some parts. bench/README.md has the method.
bench: $(VENV)/installed-dev $(if $(PICTURE),$(VENV)/installed-bench)
	$(BIN)/python bench/run.py $(if $(BEFORE),--before $(BEFORE)) $(if $(ONLY),--only $(ONLY)) $(if $(PICTURE),--picture $(PICTURE))

# The pictures of docs/, taken of the real server.
screenshots: $(VENV)/installed-dev
	$(BIN)/python docs/screenshots.py

$(VENV)/installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed: make run PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/installed-dev: requirements-dev.txt $(VENV)/installed
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements-dev.txt
	@touch $@

$(VENV)/installed-bench: requirements-bench.txt $(VENV)/installed-dev
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements-bench.txt
	@touch $@

clean:
	rm -rf $(VENV) .venv-gpu .pytest_cache .hypothesis .mypy_cache .ruff_cache bench/out
