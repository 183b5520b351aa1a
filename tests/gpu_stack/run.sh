#!/usr/bin/env bash
# make test-gpu-stack: the GPU image's Python packages (install.sh), and what can be tested with
# them.
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=${GPU_VENV:-.venv-gpu}

bash tests/gpu_stack/install.sh
"$venv/bin/python" -m pip check

# On two cores: these beside the others. The random texts need no library: a few of them show that
# they run on this Python.
beside=(tests/gpu_stack/test_{openai_whisper_real,resolution,xtts_real}.py)
# two threads of torch wait for each other by spinning: beside other programs one is sooner done
export OMP_NUM_THREADS=1
test=("$venv/bin/python" -m pytest -q -p no:cacheprovider --hypothesis-profile=few)
"${test[@]}" "${beside[@]}" >"$venv/stack.log" 2>&1 &
stack=$!
trap 'kill "$stack" 2>/dev/null || true' EXIT
# The project itself, with the versions of the image; these tests need no model.
mapfile -t project < <("$venv/bin/python" tests/gpu_stack/contents.py tests)
failed=0
"${test[@]}" "${project[@]}" || failed=1
"${test[@]}" tests/gpu_stack "${beside[@]/#/--ignore=}" || failed=1
wait "$stack" || failed=1
cat "$venv/stack.log"
exit "$failed"
