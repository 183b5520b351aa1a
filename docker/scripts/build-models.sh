#!/usr/bin/env bash
# build-models.sh [--check] [FLAGS OF main.py]: everything that the settings ask for and that cannot
# be downloaded ready-made: engines for
# ASR_ENGINE=tensorrt-whisper and LLM_ENGINE=tensorrt-llm, and the files of TTS_ENGINE=whisperspeech
# ahead of its first start.
# --check builds and fetches nothing: exit status 0 when all is there.
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=sources.sh
source "$SCRIPTS/sources.sh"

CHECK=""
if [ "${1:-}" = --check ]; then CHECK=$1 && shift; fi

step "settings"
WISHES="$("$PYTHON" "$SCRIPTS/which_engines.py" "$@")"
wished() { sed -n "s/^$1=//p" <<<"$WISHES"; }
MODEL_CACHE_DIR="$(wished model_cache_dir)"
ENGINES_DIR="$(wished engines_dir)"
STATUS=0

# An engine of a model that is not in the tables, put there by hand, is taken as it is.
llm_script() {
  if [[ " $PHI_MODELS " == *" $1 "* ]]; then
    echo build-phi.sh
  elif [[ " $MISTRAL_MODELS " == *" $1 "* ]]; then
    echo build-mistral.sh
  elif [ ! -s "$ENGINES_DIR/$1/config.json" ]; then
    fail "MODEL=$1 is not known to LLM_ENGINE=tensorrt-llm; known: $PHI_MODELS $MISTRAL_MODELS, or the folder of an engine." \
      "Any other model: serve it with trtllm-serve or vLLM and use LLM_ENGINE=openai"
  fi
}

# In the cache of the hub's own library, from `main`: WhisperSpeech asks for that branch, and
# offline for what it last was.
WHISPERSPEECH=("collabora/whisperspeech t2s-small-en+pl.model" "collabora/whisperspeech s2a-q4-tiny-en+pl.model"
  "charactr/vocos-encodec-24khz config.yaml" "charactr/vocos-encodec-24khz pytorch_model.bin")
ENCODEC=encodec_24khz-d7cc33bc.th # its sum begins with the part after the dash
: "${HF_HOME:=${HOME:-/root}/.cache/huggingface}"
: "${TORCH_HOME:=${HOME:-/root}/.cache/torch}"
export HF_HOME TORCH_HOME

fetch_whisperspeech() {
  local entry repository file
  [ -n "$CHECK" ] || mkdir -p -- "$MODEL_CACHE_DIR/speechbrain" # the image links ~/.cache/speechbrain here
  for entry in "${WHISPERSPEECH[@]}"; do
    read -r repository file <<<"$entry"
    if compgen -G "$HF_HOME/hub/models--${repository/\//--}/snapshots/*/$file" >/dev/null; then continue; fi
    if [ -n "$CHECK" ]; then say "$repository: $file is not fetched yet" && STATUS=1 && continue; fi
    step "fetch $repository $file"
    fetch_hub "$repository" main "$file"
  done
  file="$TORCH_HOME/hub/checkpoints/$ENCODEC"
  if [ -s "$file" ]; then return 0; fi
  if [ -n "$CHECK" ]; then say "$ENCODEC is not fetched yet" && STATUS=1 && return 0; fi
  step "fetch $ENCODEC"
  fetch_url d7cc33bc "$file" "https://dl.fbaipublicfiles.com/encodec/v0/$ENCODEC"
}

# build SCRIPT MODEL [GPU]: for that GPU, where one is chosen: an engine fits only its architecture.
build() {
  local on=()
  step "$1 $2"
  if [ -n "${3:-}" ]; then on=(env CUDA_DEVICE_ORDER=PCI_BUS_ID "CUDA_VISIBLE_DEVICES=$3"); fi
  if [ -z "$CHECK" ]; then
    run "${on[@]}" "$SCRIPTS/$1" "$2"
  elif ! run "${on[@]}" "$SCRIPTS/$1" --check "$2"; then
    STATUS=1
  fi
}

WHISPER="$(wished whisper)"
LLM="$(wished llm)"
SCRIPT=""
if [ -n "$LLM" ]; then SCRIPT="$(llm_script "$LLM")"; fi # a name that is not known is said before an hour of building
if [ -n "$WHISPER" ]; then build build-whisper.sh "$WHISPER" "$(wished asr_gpu)"; fi
if [ -n "$SCRIPT" ]; then build "$SCRIPT" "$LLM" "$(wished llm_gpu)"; fi
if [ -n "$(wished whisperspeech)" ]; then fetch_whisperspeech; fi
STEP=""
exit "$STATUS"
