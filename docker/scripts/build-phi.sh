#!/usr/bin/env bash
# build-phi.sh [--check] [phi-2 | phi-3-mini-4k-instruct | dolphin-2_6-phi-2]: an engine in
# $ENGINES_DIR/<id>, in float16: the converter of TensorRT-LLM 0.10.0 has no other weights for Phi.
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
ID="${1:-phi-3-mini-4k-instruct}"
[[ " $PHI_MODELS " == *" $ID "* ]] || fail "there is no Phi engine for $ID; known: $PHI_MODELS"
llm_source "$ID"
WEIGHTS="${WEIGHTS:-float16}"
[ "$WEIGHTS" = float16 ] ||
  fail "WEIGHTS=$WEIGHTS: Phi engines can only be float16; for a small card take MODEL=phi-2, or Mistral with WEIGHTS=int4"

CONVERTER=phi
CONVERT=(--model_type "$MODEL_TYPE" --dtype float16)
# Input and output together are the model's positions, 2048 for Phi-2. Phi-3-mini-4k has 4096, but
# was trained with a sliding window of 2047 and writes broken text beyond it without one, as the
# engines of 0.10.0 do. So it stays inside of it, which also halves the cache of a dialogue.
# max_num_tokens bounds the tokens of one step: its default, batch times input, would reserve
# gigabytes for activations. fp32 accumulation, because Phi's card warns of attention overflow.
case "$ID" in
  phi-3-*) OUTPUT=511 ;;
  *) OUTPUT=512 ;;
esac
BUILD=(--gemm_plugin float16 --max_batch_size 8
  --max_input_len 1536 --max_output_len "$OUTPUT" --max_num_tokens 2048
  --context_fmha_fp32_acc enable)

build_llm "$CHECK"
