#!/usr/bin/env bash
# The GPU image's Python packages on a machine without a GPU, as far as PyPI has them: everything but
# TensorRT-LLM, TensorRT (NVIDIA's index) and mpi4py (needs Open MPI) is the real thing.
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=${GPU_VENV:-.venv-gpu}

# TensorRT-LLM 0.10.0 exists for Python 3.10 alone. A name on the PATH may be a shim that runs
# nothing, so it is tried.
find_python() {
  local candidate pyenv
  pyenv=$(dirname "$(dirname "$(command -v pyenv || echo "$HOME/.pyenv/bin/pyenv")")")
  for candidate in "${PYTHON310:-}" python3.10 "${PYENV_ROOT:-$pyenv}"/versions/3.10*/bin/python3.10; do
    if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 10))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "make test-gpu-stack needs Python 3.10, which TensorRT-LLM 0.10.0 is built for: install python3.10 and python3.10-venv," \
    "or 'pyenv install 3.10', or name one: make test-gpu-stack PYTHON310=/path/to/python3.10" >&2
  return 1
}

installed=$venv/installed
if [ ! -e "$installed" ] || [ -n "$(find requirements-gpu.txt constraints-gpu.txt requirements-dev.txt requirements-whisper.txt requirements-xtts.txt tests/gpu_stack/contents.py -newer "$installed")" ]; then
  python=$(find_python)
  rm -rf "$venv"
  "$python" -m venv "$venv"
  uv=$("$venv/bin/python" tests/gpu_stack/contents.py uv)
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$uv"
  "$venv/bin/python" tests/gpu_stack/contents.py packages >"$venv/packages.txt"
  "$venv/bin/uv" pip install --python "$venv/bin/python" --build-constraints constraints-gpu.txt --requirement "$venv/packages.txt"
  # coqui-tts wants another transformers than the image has
  "$venv/bin/uv" pip install --python "$venv/bin/python" --target "$venv/xtts" --no-deps \
    --requirement <("$venv/bin/python" tests/gpu_stack/contents.py xtts)
  touch "$installed"
fi
