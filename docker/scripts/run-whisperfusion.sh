#!/usr/bin/env bash
# The image's entry point: build the missing engines of the settings, then exec main.py, so that it
# gets the signals.
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

# Without the daemon the processes have the GPU in turns. It belongs to the same user as they, as it
# has to, and they find it by its folder, which is a new one: what a killed daemon left there would
# stop the next.
share_gpu() {
  local folder
  case "${GPU_SHARING:-time}" in
    time) return 0 ;;
    mps) ;;
    *) fail "GPU_SHARING=$GPU_SHARING is not known; allowed: time, mps" ;;
  esac
  step "share the GPU"
  command -v nvidia-cuda-mps-control >/dev/null ||
    fail "GPU_SHARING=mps needs nvidia-cuda-mps-control, which NVIDIA's container toolkit brings from the host's driver; GPU_SHARING=time does without"
  folder="$(mktemp -d)"
  export CUDA_MPS_PIPE_DIRECTORY="$folder" CUDA_MPS_LOG_DIRECTORY="$folder"
  nvidia-cuda-mps-control -d || fail "nvidia-cuda-mps-control did not start; $folder/control.log may say why. GPU_SHARING=time does without"
  say "the processes share the GPU by MPS (log: $folder)"
}

say "looking for what has to be built (ENGINES_DIR=$ENGINES_DIR, MODEL_CACHE_DIR=$MODEL_CACHE_DIR)"
step "build what is missing"
run "$SCRIPTS/build-models.sh" "$@"
share_gpu
STEP=""
say "starting main.py $*"
exec "$PYTHON" main.py "$@"
