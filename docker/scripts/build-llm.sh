# shellcheck shell=bash
# The way that Phi and Mistral share: fetch, convert, build. Sourced by build-phi.sh and
# build-mistral.sh after they have set ID, CONVERTER, CONVERT and BUILD, and called llm_source.
# shellcheck disable=SC2154 # set by them

build_llm() {
  local check=$1 source="$SOURCES_DIR/$ID" options
  step "options"
  mapfile -t options < <(options "${CONVERT[@]}" "${BUILD[@]}")
  wish "$ID" "source=$REPOSITORY" "revision=$REVISION" "weights=$WEIGHTS" "${options[@]}"
  leave_if_built "$check"
  begin_build "$GB" "$source"

  step "fetch the weights"
  # consolidated.safetensors holds the same weights once more; .py files are Phi-3's own model code.
  fetch_hub "$REPOSITORY" "$REVISION" --local-dir "$source" --include 'model*.safetensors*' '*.json' '*.py' tokenizer.model merges.txt
  need_files "$source" config.json tokenizer_config.json
  compgen -G "$source/model*.safetensors" >/dev/null || fail "$REPOSITORY (revision $REVISION) has no model*.safetensors"

  step "convert the checkpoint"
  run "$PYTHON" "$EXAMPLES_DIR/examples/$CONVERTER/convert_checkpoint.py" --model_dir "$source" --output_dir "$WORK/checkpoint" \
    "${CONVERT[@]}"
  need_files "$WORK/checkpoint" config.json rank0.safetensors

  step "build the engine"
  # The timing cache would otherwise go to the current folder, which this user may not write.
  run trtllm-build --checkpoint_dir "$WORK/checkpoint" --output_dir "$WORK/engine" --output_timing_cache "$WORK/model.cache" "${BUILD[@]}"
  need_files "$WORK/engine" config.json rank0.engine

  step "copy the tokenizer"
  copy_tokenizer "$source"

  finish_build
}
