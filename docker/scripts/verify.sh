#!/usr/bin/env bash
# verify.sh [--build]: the verification list, a line each: ok, X with advice, or - where it was not
# checked. Exit status 1 with any X.
# --build skips the checks that an image build cannot pass: GPU, ports, engines.
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cd "$PROJECT"
export PATH="$PATH:$SCRIPTS"
exec "$PYTHON" "$SCRIPTS/verify.py" "$@"
