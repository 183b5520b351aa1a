# shellcheck shell=bash
# shellcheck disable=SC2034 # variables set here are read by the scripts that source it
# What the scripts beside this file share. Sourced, never run.
#
# A script is a sequence of named steps; on any failure the last line names the step. Long commands
# go through `run`: bash holds a signal back until its foreground command is over, and a build takes
# many minutes, so `run` waits for a background child instead and a signal ends that child first.
# What is on its way lies in a temporary place (see `temporary`) and is removed on every way out.
set -Eeuo pipefail

SCRIPTS="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
PROJECT="$(cd "$SCRIPTS/../.." && pwd)"
NAME="$(basename "$0")"
STEP=""
TEMPORARY=()

: "${VENV:=/opt/venv}"
: "${EXAMPLES_DIR:=/opt/tensorrt-llm}"
: "${MODEL_CACHE_DIR:=${HOME:-/root}/.cache/whisperfusion}" # the same defaults as in whisperfusion/settings/fields.py
: "${ENGINES_DIR:=${HOME:-/root}/.cache/whisperfusion/engines}"
: "${RETRY_WAIT_S:=5}"
PYTHON="$VENV/bin/python"
SOURCES_DIR="$MODEL_CACHE_DIR/engine-sources"
export VENV EXAMPLES_DIR MODEL_CACHE_DIR ENGINES_DIR PYTHON
export PATH="$VENV/bin:$PATH"

say() { printf '%s: %s\n' "$NAME" "$*"; }

fail() {
  printf '%s: %s\n' "$NAME" "$*" >&2
  exit 1
}

step() {
  STEP="$*"
  printf '%s: [%s]\n' "$NAME" "$STEP"
}

temporary() { TEMPORARY+=("$@"); }

on_exit() {
  local status=$?
  trap - EXIT
  if [ "${#TEMPORARY[@]}" -gt 0 ]; then rm -rf -- "${TEMPORARY[@]}"; fi
  if [ "$status" -ne 0 ] && [ -n "$STEP" ]; then
    printf '%s: stopped at step [%s], exit status %d\n' "$NAME" "$STEP" "$status" >&2
  fi
  exit "$status"
}

on_signal() {
  trap '' TERM INT
  # Of the jobs, not of a variable: the signal may come before anything could be noted down of a
  # child that has just been started.
  local children
  children=$(jobs -pr)
  if [ -n "$children" ]; then
    # shellcheck disable=SC2086 # one word a process
    kill -TERM $children 2>/dev/null || true
    # shellcheck disable=SC2086
    wait $children 2>/dev/null || true
  fi
  exit "$1"
}

trap on_exit EXIT
trap 'on_signal 143' TERM
trap 'on_signal 130' INT

# run COMMAND...: an external command that a signal to this script ends.
run() {
  local status=0
  "$@" &
  wait "$!" || status=$?
  return "$status"
}

need_files() {
  local folder=$1 file
  shift
  for file in "$@"; do
    [ -s "$folder/$file" ] || fail "$folder/$file is missing or empty"
  done
}

# writable FOLDER VARIABLE: create the folder, or fail with the name of the user.
writable() {
  if ! mkdir -p -- "$1" 2>/dev/null || [ ! -w "$1" ]; then
    fail "$2=$1 cannot be written by user $(id -un 2>/dev/null || id -u) (uid $(id -u)); give it to that user: chown -R $(id -u) $1"
  fi
}

# need_space FOLDER GB WHAT [THERE]: before a download, not in the middle of it. What lies in THERE
# already counts as room.
need_space() {
  local free there=0
  free="$(df -Pk -- "$1" | awk 'NR == 2 { print int($4 / 1048576) }')"
  if [ -n "${4:-}" ] && [ -d "$4" ]; then there="$(du -sk -- "$4" | awk '{ print int($1 / 1048576) }')"; fi
  [ $((free + there)) -ge "$2" ] || fail "$3 needs about $2 GB in $1, and $free GB are free; make room or mount a larger volume there"
}

# lock ID: one build of an engine at a time, also across containers that share the volume. Held
# until the script ends.
lock() {
  exec 9>"$ENGINES_DIR/.lock-$1"
  if ! flock -n 9; then
    say "another build of $1 is running; waiting for it"
    run flock 9
  fi
}

has_sum() { [[ "$(sha256sum -- "$1" | cut -d ' ' -f 1)" == "$2"* ]]; }

# fetch_url SHA256 FILE URLS...: resumable; the file has its name only after its sum was checked.
# SHA256 may be a prefix. URLS are addresses of the same file: each attempt asks one after the
# other, and what one gave of it the next goes on from.
fetch_url() {
  local sum=$1 file=$2 attempt url
  shift 2
  if [ -f "$file" ] && has_sum "$file" "$sum"; then return 0; fi
  mkdir -p -- "$(dirname "$file")"
  for attempt in 1 2 3; do
    for url in "$@"; do
      local status=0
      if [ ! -f "$file.part" ] || ! has_sum "$file.part" "$sum"; then
        run curl --fail --location --silent --show-error --connect-timeout 30 --retry 3 --continue-at - --output "$file.part" "$url" ||
          status=$?
      fi
      if [ "$status" -eq 0 ]; then
        if has_sum "$file.part" "$sum"; then
          mv -- "$file.part" "$file"
          return 0
        fi
        say "$url: the sum does not match, attempt $attempt of 3"
        rm -f -- "$file.part"
      elif [ "$status" -eq 22 ] || [ "$status" -eq 33 ]; then
        rm -f -- "$file.part" # the server refused: perhaps because nothing is missing of a part that is damaged
      fi
    done
    run sleep "$RETRY_WAIT_S"
  done
  fail "cannot fetch $* (sha256 $sum) to $file; is the network there? The next start goes on from what was fetched"
}

# fetch_hub REPOSITORY REVISION ARGUMENTS...: with `hf`, where that is missing or fails with
# `huggingface-cli` (the older name of the same program). ARGUMENTS come before the revision: names
# of files have to follow the repository directly. From huggingface_hub 1.0 on `hf` reads its
# arguments otherwise (one value for each --include) and huggingface-cli is gone; the set of the
# image is pinned below.
fetch_hub() {
  local repository=$1 revision=$2 tool attempt found=""
  shift 2
  for tool in hf huggingface-cli; do
    if ! command -v "$tool" >/dev/null; then continue; fi
    found=yes
    for attempt in 1 2 3; do
      if run "$tool" download "$repository" "$@" --revision "$revision"; then return 0; fi
      say "$tool download $repository failed, attempt $attempt of 3"
      run sleep "$RETRY_WAIT_S"
    done
  done
  [ -n "$found" ] || fail "neither hf nor huggingface-cli is in $VENV/bin; run setup-whisperfusion.sh again"
  fail "cannot fetch $repository (revision $revision). Is the network there? If the model asks for consent: accept its terms on the hub," \
    "then build it by hand: docker compose --profile gpu run --rm -e HF_TOKEN whisperfusion $NAME. What was fetched is kept"
}
