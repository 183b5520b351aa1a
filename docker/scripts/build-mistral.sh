#!/usr/bin/env bash
# build-mistral.sh [--check] [openhermes-2.5-mistral-7b | mistral-7b-instruct-v0.2]: an engine in
# $ENGINES_DIR/<id>.
# WEIGHTS=int8 (default), int4 or float16: 7, 4 or 14 GB on the GPU.
# REUSE=1: prompts that begin alike share their keys and values, so that a turn reads only what is
# new of its dialogue; REUSE=0 (default): each is read whole.
# Once built, an engine keeps its weights and its reuse unless WEIGHTS or REUSE is set.
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
[ -n "${REUSE:-}" ] || [ "$(built_option "$ID" use_paged_context_fmha)" != enable ] || REUSE=1

CONVERTER=llama # Mistral is a Llama to TensorRT-LLM
# On the CPU: else the float16 model has to fit on the GPU to be made smaller. Takes some 16 GB of
# memory.
CONVERT=(--dtype float16 --load_model_on_cpu)
case "$WEIGHTS" in
  float16) ;;
  int8 | int4) CONVERT+=(--use_weight_only --weight_only_precision "$WEIGHTS") ;;
  *) fail "WEIGHTS=$WEIGHTS is not known; allowed: int8, int4, float16" ;;
esac
# max_num_tokens as in build-phi.sh.
BUILD=(--gemm_plugin float16 --max_batch_size 8 --max_input_len 3072 --max_output_len 1024 --max_num_tokens 4096)
# Not by default: 0.10.0 is reported to fail in just the cache that is shared then ("Assertion
# failed: mNextBlocks.empty()", NVIDIA/TensorRT-LLM issue 2042), which ends the language model's
# process, and Volta has no such kernel.
case "${REUSE:-0}" in
  0) ;;
  1) BUILD+=(--use_paged_context_fmha enable) ;;
  *) fail "REUSE=$REUSE is not known; allowed: 0, 1" ;;
esac

build_llm "$CHECK"
