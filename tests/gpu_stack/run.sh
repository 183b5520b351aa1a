#!/usr/bin/env bash
# make test-gpu-stack: the GPU image's Python packages (install.sh), and what can be tested with
# them.
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=${GPU_VENV:-.venv-gpu}

bash tests/gpu_stack/install.sh
"$venv/bin/python" -m pip check

# Both at once, for the project's own tests mostly wait. The random texts need no library: a few of
# them show that they run on this Python.
test=("$venv/bin/python" -m pytest -q -p no:cacheprovider --hypothesis-profile=few)
# Two threads of torch wait for each other by spinning: beside other programs one is sooner done.
nice -n 5 env OMP_NUM_THREADS=1 "${test[@]}" tests/gpu_stack >"$venv/stack.log" 2>&1 &
stack=$!
trap 'kill "$stack" 2>/dev/null || true' EXIT
# The project itself, with the versions of the image; these tests need no model.
mapfile -t project < <("$venv/bin/python" tests/gpu_stack/contents.py tests)
failed=0
"${test[@]}" "${project[@]}" || failed=1
wait "$stack" || failed=1
cat "$venv/stack.log"
exit "$failed"
