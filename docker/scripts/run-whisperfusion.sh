#!/usr/bin/env bash
# The image's entry point: build what the settings ask for and is missing, then become main.py, so that signals reach it.
#
#   (nothing), or flags of main.py    build, then serve
#   talk | models | doctor | --help   main.py as it is, nothing is built
#   anything else                     that command (bash, build-phi.sh, ...)
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

export PATH="$PATH:$SCRIPTS"
cd "$PROJECT"

case "${1:-run}" in
  run | talk | models | doctor | -*) ;;
  *) exec "$@" ;;
esac
for argument in "$@"; do # a command of main.py may stand behind its flags
  case "$argument" in
    talk | models | doctor | -h | --help) exec "$PYTHON" main.py "$@" ;;
  esac
done

say "looking for what has to be built (ENGINES_DIR=$ENGINES_DIR, MODEL_CACHE_DIR=$MODEL_CACHE_DIR)"
step "build what is missing"
run "$SCRIPTS/build-models.sh" "$@"
STEP=""
say "starting main.py $*"
exec "$PYTHON" main.py "$@"
