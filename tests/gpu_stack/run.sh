#!/usr/bin/env bash
# make test-gpu-stack: the GPU image's Python packages on a machine without a GPU, as far as PyPI
# has them, and what can be tested with them. Everything but TensorRT-LLM, TensorRT (NVIDIA's index)
# and mpi4py (needs Open MPI) is the real thing.
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
if [ ! -e "$installed" ] || [ -n "$(find requirements-gpu.txt constraints-gpu.txt requirements-dev.txt requirements-whisper.txt tests/gpu_stack/contents.py -newer "$installed")" ]; then
  python=$(find_python)
  rm -rf "$venv"
  "$python" -m venv "$venv"
  uv=$("$venv/bin/python" tests/gpu_stack/contents.py uv)
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$uv"
  "$venv/bin/python" tests/gpu_stack/contents.py packages >"$venv/packages.txt"
  "$venv/bin/uv" pip install --python "$venv/bin/python" --build-constraints constraints-gpu.txt --requirement "$venv/packages.txt"
  touch "$installed"
fi

"$venv/bin/python" -m pip check

# Both at once, for the project's own tests mostly wait. They are the ones with clocks in them, so
# the others give way. The random dialogues and texts need no library: a few of them show that they
# run on this Python.
test=(env WORLD_DIALOGUES=30 "$venv/bin/python" -m pytest -q -p no:cacheprovider --hypothesis-profile=few)
# Two threads of torch wait for each other by spinning: beside other programs one is sooner done.
nice -n 19 env OMP_NUM_THREADS=1 "${test[@]}" tests/gpu_stack >"$venv/stack.log" 2>&1 &
stack=$!
trap 'kill "$stack" 2>/dev/null || true' EXIT
# The project itself, with the versions of the image; these tests need no model.
mapfile -t project < <("$venv/bin/python" tests/gpu_stack/contents.py tests)
failed=0
"${test[@]}" "${project[@]}" || failed=1
wait "$stack" || failed=1
cat "$venv/stack.log"
exit "$failed"
