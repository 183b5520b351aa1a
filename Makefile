# make run: install what is missing, fetch the models, start. make test: everything that can be
# tested without the GPU packages.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# CUDA=1 installs Whisper and llama.cpp for an NVIDIA GPU, about 1 GB, and later calls need not repeat it. It is asked for and not
# detected: a GPU may be too old, its driver too, and nobody who types `make run` should wait for what their machine cannot use.
GPU_SET := $(if $(CUDA)$(wildcard $(VENV)/installed-cuda),$(VENV)/installed-cuda)
XLLAMACPP_INDEX ?= https://xorbitsai.github.io/xllamacpp/whl/cu128

.PHONY: run whisper test test-gpu-stack lint types talk doctor bench docs charts screenshots check-links clean kokoro xtts cluster

run: $(VENV)/installed $(GPU_SET)
	@$(if $(GPU_SET),,command -v nvidia-smi >/dev/null && echo "An NVIDIA GPU may be here: \`make run CUDA=1\` uses it" || true)
	@exec $(BIN)/python main.py

# ASR_ENGINE=whisper, in an interpreter of its own: 3 GB to download, 7 on disk, for PyPI's torch brings CUDA along.
# TORCH_INDEX=https://download.pytorch.org/whl/cpu takes a torch without it from there.
whisper: .venv-whisper/installed

# tests/run.sh says what runs beside what.
test: $(VENV)/installed-dev
	@bash tests/run.sh $(BIN)/python

# The GPU image's Python packages, as far as they can be had without NVIDIA's index, and what can be
# tested with them: 6 GB, Python 3.10.
test-gpu-stack:
	bash tests/gpu_stack/run.sh

# The JavaScript of web/ is checked too where npm is there, by the versions in package-lock.json.
NPM := $(shell command -v npm)

lint: $(VENV)/installed-dev $(if $(NPM),node_modules/.package-lock.json)
	$(BIN)/ruff check .
	$(if $(NPM),npm run --silent lint,@echo "npm is not here: web/ was not checked")

types: $(VENV)/installed-dev $(if $(NPM),node_modules/.package-lock.json)
	$(BIN)/mypy
	$(if $(NPM),npm run --silent types,@echo "npm is not here: web/ was not checked")

node_modules/.package-lock.json: package-lock.json
	npm ci --no-audit --no-fund
	@touch $@

# TTS_ENGINE=kokoro: its libraries in an interpreter of their own (espeak-ng is GPL), and its model.
kokoro: .venv-kokoro/installed $(VENV)/installed
	@$(BIN)/python main.py models fetch kokoro-v1.0

.venv-kokoro/installed: requirements-kokoro.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12) and "Kokoro needs Python 3.11 or 3.12: make kokoro PYTHON=python3.12")'
	$(PYTHON) -m venv .venv-kokoro
	.venv-kokoro/bin/python -m pip install --disable-pip-version-check -r requirements-kokoro.txt
	@touch $@

# TTS_ENGINE=xtts: 5 GB like `whisper`, TORCH_INDEX too, and its model of 1.9 GB, whose licence wants to be accepted
# (docs/licences.md): make xtts COQUI_TOS_AGREED=1.
xtts: .venv-xtts/installed $(VENV)/installed
	@$(BIN)/python main.py models fetch xtts-v2

# The engines on a Ray cluster of two nodes on this machine (docs/cluster.md), from an interpreter of their own; Linux alone.
# CONFIG=FILE: other engines. PORT=8101: another port.
cluster: .venv-cluster/installed
	@exec .venv-cluster/bin/python -m cluster up $(if $(CONFIG),$(CONFIG)) $(if $(PORT),--port $(PORT))

.venv-cluster/installed: requirements-cluster.txt requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13) and "Ray needs Python 3.10 to 3.13: make cluster PYTHON=python3.12")'
	$(PYTHON) -m venv .venv-cluster
	.venv-cluster/bin/python -m pip install --disable-pip-version-check -r requirements-cluster.txt
	@touch $@

talk: $(VENV)/installed
	@$(BIN)/python main.py talk $(FILE)

doctor: $(VENV)/installed $(GPU_SET)
	@$(BIN)/python main.py doctor

# BEFORE=DIR: the same for an older checkout. PICTURE=FILE.png: drawn. ONLY=voice,barge-in: some
# parts. bench/README.md has the method.
bench: $(VENV)/installed-dev $(if $(PICTURE),$(VENV)/installed-bench)
	$(BIN)/python bench/run.py $(if $(BEFORE),--before $(BEFORE)) $(if $(ONLY),--only $(ONLY)) $(if $(PICTURE),--picture $(PICTURE))

# Image tags, package indexes, models on the hub, checkpoints: whether all of them are still there. Needs the network.
check-links: $(VENV)/installed-dev
	$(BIN)/python tests/check_links.py

# What is written from the code: docs/settings.md and .env.example (settings), docs/turns.md (the
# table of states), the dashboard of Grafana.
docs: $(VENV)/installed
	$(BIN)/python docs/settings_reference.py
	$(BIN)/python docs/states.py > docs/turns.md
	$(BIN)/python docs/engines_reference.py > docs/engines.md
	$(BIN)/python docs/grafana_dashboard.py

# What is made from the Helm chart: its values' schema, deploy/kubernetes/.
charts: $(VENV)/installed-dev
	$(BIN)/python deploy/helm/render.py

# The pictures of docs/, taken of the real server.
screenshots: $(VENV)/installed-dev
	$(BIN)/python docs/screenshots.py

$(VENV)/installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed: make run PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.txt
	@touch $@

# The CPU build of llama.cpp has the same version: only --force-reinstall from this index replaces it.
$(VENV)/installed-cuda: requirements-cuda.txt $(VENV)/installed
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements-cuda.txt
	$(BIN)/python -m pip install --disable-pip-version-check --force-reinstall --no-deps --index-url $(XLLAMACPP_INDEX) \
		"$$(grep ^xllamacpp== requirements.txt)"
	@touch $@

.venv-whisper/installed: requirements-whisper.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed: make whisper PYTHON=python3.11")'
	$(PYTHON) -m venv .venv-whisper
	$(if $(TORCH_INDEX),.venv-whisper/bin/python -m pip install --disable-pip-version-check --index-url $(TORCH_INDEX) "$$(grep ^torch== requirements-whisper.txt)")
	$(if $(TORCH_INDEX),grep -vE '^(nvidia|cuda)-' requirements-whisper.txt,cat requirements-whisper.txt) \
		| .venv-whisper/bin/python -m pip install --disable-pip-version-check -r /dev/stdin
	@touch $@

.venv-xtts/installed: requirements-xtts.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13) and "XTTS needs Python 3.10 to 3.13: make xtts PYTHON=python3.12")'
	$(PYTHON) -m venv .venv-xtts
	$(if $(TORCH_INDEX),.venv-xtts/bin/python -m pip install --disable-pip-version-check --index-url $(TORCH_INDEX) $$(grep -E '^(torch|torchaudio)==' requirements-xtts.txt))
	$(if $(TORCH_INDEX),grep -v '^nvidia-' requirements-xtts.txt,cat requirements-xtts.txt) \
		| .venv-xtts/bin/python -m pip install --disable-pip-version-check -r /dev/stdin
	@touch $@

$(VENV)/installed-dev: requirements-dev.txt $(VENV)/installed
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements-dev.txt
	@touch $@

$(VENV)/installed-bench: requirements-bench.txt $(VENV)/installed-dev
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements-bench.txt
	@touch $@

clean:
	rm -rf .promtool $(VENV) .venv-cluster .venv-gpu .venv-kokoro .venv-whisper .venv-xtts .pytest_cache .hypothesis .mypy_cache .ruff_cache bench/out node_modules
