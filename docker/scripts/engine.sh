# shellcheck shell=bash
# shellcheck disable=SC2034 # variables set here are read by the scripts that source it
# An engine folder from its wish to its place. Sourced by the build scripts after lib.sh.
#
# built.txt is the wish, written last: one `name=value` a line with the model, its source, every
# build option, the version of TensorRT-LLM and the GPU's architecture. An engine is valid for
# exactly these, so a folder with the same file is kept, and any other is rebuilt. The build happens
# in a sibling folder on the same file system and gets its name by a rename: a folder with that name
# is complete.

# options FLAGS...: `--name value` and bare `--name` as name=value lines.
options() {
  while [ "$#" -gt 0 ]; do
    if [ "$#" -gt 1 ] && [[ "$2" != --* ]]; then
      printf '%s=%s\n' "${1#--}" "$2"
      shift 2
    else
      printf '%s=true\n' "${1#--}"
      shift
    fi
  done
}

# built_option FOLDER NAME: the value in built.txt, or nothing.
built_option() { sed -n "s/^$2=//p" "$ENGINES_DIR/$1/built.txt" 2>/dev/null || true; }

# wish ID LINES...: sets WANTED, ENGINE (where it goes) and WORK (where it is made).
wish() {
  local id=$1 version arch
  shift
  version="$("$PYTHON" "$SCRIPTS/installed.py" version tensorrt_llm)"
  arch="$("$PYTHON" "$SCRIPTS/cuda_arch.py" "${CUDA_ARCH:-auto}")"
  ENGINE="$ENGINES_DIR/$id"
  WORK="$ENGINES_DIR/.building-$id"
  WANTED="$(printf '%s\n' "model=$id" "$@" "tensorrt_llm=$version" "cuda_arch=$arch")"
}

is_built() { [ -f "$ENGINE/built.txt" ] && [ "$(cat "$ENGINE/built.txt")" = "$WANTED" ]; }

# leave_if_built [--check]: ends the script when there is nothing to do; with --check also when
# there is.
leave_if_built() {
  if is_built; then
    say "$(basename "$ENGINE") is built: $ENGINE"
    STEP=""
    exit 0
  fi
  if [ -f "$ENGINE/built.txt" ]; then
    say "$(basename "$ENGINE") was built with other options (< there, > wanted):"
    diff "$ENGINE/built.txt" <(printf '%s\n' "$WANTED") | grep '^[<>]' || true
  else
    say "$(basename "$ENGINE") is not built yet"
  fi
  if [ "${1:-}" = --check ]; then
    STEP=""
    exit 1
  fi
}

# begin_build GB SOURCE: alone, with room, in an empty work folder.
begin_build() {
  step "lock"
  writable "$ENGINES_DIR" ENGINES_DIR
  writable "$SOURCES_DIR" MODEL_CACHE_DIR
  lock "$(basename "$ENGINE")"
  if is_built; then
    say "$(basename "$ENGINE") was built meanwhile: $ENGINE"
    STEP=""
    exit 0
  fi
  # Before the first gigabyte: this needs the driver, Open MPI and libraries that fit, and fails
  # without a GPU.
  step "import tensorrt_llm"
  run "$PYTHON" -c 'import tensorrt_llm' || fail "tensorrt_llm cannot be imported; the lines above say why, docs/gpu.md what to do"
  step "room"
  # Rough: download and checkpoint commonly lie on one disk, so the whole is asked of both.
  need_space "$SOURCES_DIR" "$1" "the build of $(basename "$ENGINE")" "$2"
  need_space "$ENGINES_DIR" "$1" "the build of $(basename "$ENGINE")" "$2"
  rm -rf -- "$WORK" # of a build that was killed
  temporary "$WORK"
  mkdir -p -- "$WORK/engine"
}

# copy_tokenizer FOLDER: the files that a fast tokenizer needs beside the engine. config.json of the
# model would overwrite the engine's own.
copy_tokenizer() {
  local file
  for file in tokenizer.json tokenizer_config.json special_tokens_map.json added_tokens.json vocab.json merges.txt tokenizer.model; do
    if [ -f "$1/$file" ]; then cp -- "$1/$file" "$WORK/engine/"; fi
  done
  if [ ! -s "$WORK/engine/tokenizer.json" ]; then # only the slow form was published: transformers makes the fast one of it
    run "$PYTHON" "$SCRIPTS/fast_tokenizer.py" "$1" "$WORK/engine"
  fi
  need_files "$WORK/engine" tokenizer.json
}

finish_build() {
  step "move into place"
  printf '%s\n' "$WANTED" >"$WORK/engine/built.txt"
  if [ -e "$ENGINE" ]; then mv -T -- "$ENGINE" "$WORK/replaced"; fi
  mv -T -- "$WORK/engine" "$ENGINE"
  say "built $ENGINE"
  STEP=""
}
