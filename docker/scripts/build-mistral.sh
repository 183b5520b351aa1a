#!/usr/bin/env bash
# build-mistral.sh [--check] [openhermes-2.5-mistral-7b | mistral-7b-instruct-v0.2]: an engine in $ENGINES_DIR/<id>.
# WEIGHTS=int8 (default), int4 or float16: 7, 4 or 14 GB on the GPU. Once built, an engine keeps its weights until WEIGHTS says otherwise.
# --check builds nothing: exit status 0 when it is there and as it would be built.
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=engine.sh
source "$SCRIPTS/engine.sh"
# shellcheck source=sources.sh
source "$SCRIPTS/sources.sh"
# shellcheck source=build-llm.sh
source "$SCRIPTS/build-llm.sh"

CHECK=""
if [ "${1:-}" = --check ]; then CHECK=$1 && shift; fi
ID="${1:-openhermes-2.5-mistral-7b}"
[[ " $MISTRAL_MODELS " == *" $ID "* ]] || fail "there is no Mistral engine for $ID; known: $MISTRAL_MODELS"
llm_source "$ID"
WEIGHTS="${WEIGHTS:-$(built_option "$ID" weights)}"
WEIGHTS="${WEIGHTS:-int8}"

CONVERTER=llama # Mistral is a Llama to TensorRT-LLM
# On the CPU: else the float16 model has to fit on the GPU to be made smaller. Takes some 16 GB of memory.
CONVERT=(--dtype float16 --load_model_on_cpu)
case "$WEIGHTS" in
  float16) ;;
  int8 | int4) CONVERT+=(--use_weight_only --weight_only_precision "$WEIGHTS") ;;
  *) fail "WEIGHTS=$WEIGHTS is not known; allowed: int8, int4, float16" ;;
esac
# Without --use_paged_context_fmha, though with it callers would share the keys and values of equal prompt beginnings: 0.10.0 is reported to
# fail in just that cache ("Assertion failed: mNextBlocks.empty()", NVIDIA/TensorRT-LLM issue 2042), and Volta has no such kernel. An engine
# that was built with it by hand is used with it. max_num_tokens as in build-phi.sh.
BUILD=(--gemm_plugin float16 --max_batch_size 8 --max_input_len 3072 --max_output_len 1024 --max_num_tokens 4096)

build_llm "$CHECK"
