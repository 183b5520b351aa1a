#!/usr/bin/env bash
# build-whisper.sh [--check] [SIZE]: Whisper's encoder and decoder engines in
# $ENGINES_DIR/whisper-SIZE (default small.en).
# --check builds nothing: exit status 0 when they are there and as they would be built.
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=engine.sh
source "$SCRIPTS/engine.sh"
# shellcheck source=sources.sh
source "$SCRIPTS/sources.sh"

CHECK=""
if [ "${1:-}" = --check ]; then CHECK=$1 && shift; fi
SIZE="${1:-small.en}"
SIZE="${SIZE#whisper-}"
whisper_source "$SIZE" || fail "there is no Whisper engine for $SIZE; ASR_MODEL may be: $WHISPER_MODELS"

# Up to four callers in one decode, greedy. 228 + 220 = the decoder's 448 positions: a prompt of 223
# tokens (initial prompt, hot words) and the longest answer fit. The plugins and fused attention are
# off by default in this script and are what makes it fast.
BUILD=(--dtype float16 --max_batch_size 4 --max_beam_width 1 --max_input_len 228 --max_output_len 220
  --use_gpt_attention_plugin float16 --use_bert_attention_plugin float16 --use_gemm_plugin float16 --enable_context_fmha)

step "options"
mapfile -t OPTIONS < <(options "${BUILD[@]}")
wish "whisper-$SIZE" "source=${CHECKPOINT_URLS[0]}" "tokenizer=$REPOSITORY" "revision=$REVISION" "${OPTIONS[@]}"
leave_if_built "$CHECK"
begin_build "$GB" "$SOURCES_DIR/whisper"

step "fetch the checkpoint"
fetch_url "$SUM" "$SOURCES_DIR/whisper/$SIZE.pt" "${CHECKPOINT_URLS[@]}"

step "fetch the tokenizer"
fetch_hub "$REPOSITORY" "$REVISION" tokenizer.json --local-dir "$WORK/tokenizer"
need_files "$WORK/tokenizer" tokenizer.json

step "build the engines"
# The script is run from its own folder's modules and writes its timing cache beside the engines.
run "$PYTHON" "$EXAMPLES_DIR/examples/whisper/build.py" --model_dir "$SOURCES_DIR/whisper" --model_name "$SIZE" \
  --output_dir "$WORK/engine" "${BUILD[@]}"
rm -f -- "$WORK/engine/decoder_model.cache"
cp -- "$WORK/tokenizer/tokenizer.json" "$WORK/engine/"
need_files "$WORK/engine" encoder_config.json decoder_config.json whisper_encoder_float16_tp1_rank0.engine \
  whisper_decoder_float16_tp1_rank0.engine tokenizer.json

finish_build
