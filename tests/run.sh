#!/usr/bin/env bash
# make test: run.sh PYTHON. Three runs at once on a machine of two cores, and a last one. The tests
# that are marked `live` listen in real time, one after the other, and leave half of the processor
# unused; those marked `waits` kill processes and wait for new ones, and leave most of it. All
# others make way for both (nice), so they take what is left. The files that compute most come
# first (tests/conftest.py), so that none is alone at the end. Those marked `sites` start dozens of
# processes and would starve all others, so they come last.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1

# Where the environment forbids compiled files, each of some hundred processes would compile the
# package anew.
unset PYTHONDONTWRITEBYTECODE
logs=$(mktemp -d)

# one_by_one MARK: the tests that are marked so, and what they print
one_by_one() {
  local files=()
  while IFS= read -r file; do files+=("$file"); done < <(grep -rl --include='test_*.py' "mark\.$1\b" tests)
  "$python" -m pytest -q -p no:cacheprovider -m "$1" "${files[@]}" >"$logs/$1" 2>&1
}

set -m # a process group for each, in which Ctrl-C is not ignored: servers are stopped in order
one_by_one live &
live=$!
one_by_one waits &
waits=$!
set +m
trap 'kill -INT "-$live" "-$waits" 2>/dev/null || true; rm -rf "$logs"' EXIT

failed=0
# Most of these wait for sockets and processes, so three run at a time on two cores.
nice -n 10 "$python" -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder -m "not live and not waits and not sites" || failed=1
wait "$live" || failed=1
wait "$waits" || failed=1
one_by_one sites || failed=1
cat "$logs/live" "$logs/waits" "$logs/sites"
exit "$failed"
