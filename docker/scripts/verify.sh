#!/usr/bin/env bash
# verify.sh [--build]: the verification list, a line each: ok, X with advice, or - where it was not checked. Exit status 1 with any X.
# --build leaves out what an image build cannot have: GPU, ports, engines.
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cd "$PROJECT"
export PATH="$PATH:$SCRIPTS"
exec "$PYTHON" "$SCRIPTS/verify.py" "$@"
