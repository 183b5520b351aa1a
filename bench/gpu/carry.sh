#!/bin/bash
# Takes the measurements of this folder to a machine that has a GPU and no network.
#
#   bench/gpu/carry.sh pack [DIR]            here: collects all, splits it into DIR/base-1 ... DIR/cuda-1 ...
#   bench/gpu/carry.sh take PIECE... TARGET  there: checks such folders, and keeps them in TARGET
#   bench/gpu/carry.sh unpack TARGET         there: joins them, and makes TARGET/venv without a network
#
# DIR is .gpu, which git ignores. A piece has at most PIECE_BYTES (60 MB), so that it fits through a
# narrow door together with a copy of this checkout; the pieces may come in any order, in any number
# of visits. Settings: PYTHON (here: one that has the requirements; there: one of PYTHON_VERSION),
# PYTHON_VERSION (3.12) of the other machine, WITH_CUDA=no (it has CUDA 12 already), MODELS,
# XLLAMACPP_INDEX; for `unpack` CUBLAS=/path/libcublas.so.13, which is then used under the name of 12.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
PIECE_BYTES="${PIECE_BYTES:-60000000}"
PYTHON_VERSION="${PYTHON_VERSION:-3.12}"
MODELS="${MODELS:-whisper-base smollm2-135m smart-turn-v3.2}"
XLLAMACPP_INDEX="${XLLAMACPP_INDEX:-https://xorbitsai.github.io/xllamacpp/whl/cu128}"
SCRATCH=""
trap 'rm -rf "$SCRATCH"' EXIT

fail() { printf 'carry.sh: %s\n' "$*" >&2; exit 1; }
say() { printf '%s\n' "$*"; }

# --- pieces -------------------------------------------------------------------------------------

# split FILE DIR NAME: folders DIR/NAME-1 ..., each with one piece and its sums.
split_into() {
  local file="$1" dir="$2" name="$3" whole count number=0 piece
  whole="$(sha256sum <"$file" | cut -d' ' -f1)"
  SCRATCH="${SCRATCH:-$(mktemp -d)}"
  mkdir -p "$SCRATCH/parts" "$dir"
  split --bytes="$PIECE_BYTES" --suffix-length=4 --numeric-suffixes=1 "$file" "$SCRATCH/parts/"
  count="$(find "$SCRATCH/parts" -type f | wc -l)"
  for piece in "$SCRATCH"/parts/*; do
    number=$((number + 1))
    mkdir -p "$dir/$name-$number"
    mv "$piece" "$dir/$name-$number/$name.$number-of-$count"
    (cd "$dir/$name-$number" && sha256sum "$name.$number-of-$count" >SHA256SUMS)
    printf '%s\n' "$whole" >"$dir/$name-$number/$name.whole"
  done
  say "$name: $count pieces of at most $PIECE_BYTES bytes"
}

# take PIECE... TARGET
take() {
  local target="${!#}" piece
  [ $# -ge 2 ] || fail "take wants folders of pieces, and the folder to keep them in"
  mkdir -p "$target/pieces"
  for piece in "${@:1:$#-1}"; do
    [ -f "$piece/SHA256SUMS" ] || fail "$piece holds no piece"
    (cd "$piece" && sha256sum --check --quiet SHA256SUMS) || fail "$piece was damaged on its way; bring it again"
    find "$piece" -maxdepth 1 -type f ! -name SHA256SUMS -exec cp {} "$target/pieces/" \;
  done
  names_in "$target" | while read -r name; do
    local missing
    missing="$(missing_of "$target" "$name")"
    if [ -n "$missing" ]; then say "$name: still missing $missing"; else say "$name: complete"; fi
  done
}

names_in() { find "$1/pieces" -name '*.whole' -printf '%f\n' | sed 's/\.whole$//' | sort; }

# The numbers of the pieces of NAME that are not in TARGET yet.
missing_of() {
  local target="$1" name="$2" one count missing=""
  one="$(find "$target/pieces" -name "$name.*-of-*" -printf '%f\n' | head -n 1)"
  count="${one##*-of-}"
  for number in $(seq "$count"); do
    [ -f "$target/pieces/$name.$number-of-$count" ] || missing="$missing $number"
  done
  printf '%s' "${missing# }"
}

complete() {
  local missing
  missing="$(missing_of "$1" "$2")"
  [ -z "$missing" ] || fail "pieces of $2 are missing: $missing"
}

# join TARGET NAME: the whole to standard output, once its sum is right.
join() {
  local target="$1" name="$2" count whole
  complete "$target" "$name"
  count="$(find "$target/pieces" -name "$name.*-of-*" | wc -l)"
  whole="$(cat "$target/pieces/$name.whole")"
  ordered() { local number; for number in $(seq "$count"); do cat "$target/pieces/$name.$number-of-$count"; done; }
  [ "$(ordered | sha256sum | cut -d' ' -f1)" = "$whole" ] || fail "the joined $name has another sum; bring its pieces again"
  ordered
}

# --- here ---------------------------------------------------------------------------------------

wheels() {
  local python="$1" folder="$2"; shift 2
  "$python" -m pip download --quiet --disable-pip-version-check --only-binary=:all: --dest "$folder" \
    --python-version "$PYTHON_VERSION" --implementation cp --abi "cp${PYTHON_VERSION/./}" --abi abi3 --abi none \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
    --platform any "$@"
}

# What the server needs, and what counts word errors.
requirements() {
  grep -v '^xllamacpp' "$ROOT/requirements.txt"
  grep -E '^(jiwer|whisper-normalizer|rapidfuzz|indic-numtowords|more-itertools|regex)==' "$ROOT/requirements-dev.txt"
}

pack() {
  local dir="${1:-$ROOT/.gpu}" python="${PYTHON:-$ROOT/.venv/bin/python}" stage cache llama
  SCRATCH="$(mktemp -d)"; stage="$SCRATCH/base"
  mkdir -p "$stage/wheels" "$stage/models" "$SCRATCH/cuda/wheels"
  printf '%s\n' "$PYTHON_VERSION" >"$stage/python-version"
  requirements >"$stage/wheels/requirements.txt"
  say "wheels for Python $PYTHON_VERSION on x86-64"
  wheels "$python" "$stage/wheels" --no-deps -r "$stage/wheels/requirements.txt"
  llama="$(grep '^xllamacpp==' "$ROOT/requirements.txt")"
  if wheels "$python" "$stage/wheels" --no-deps --retries 0 --timeout 15 --index-url "$XLLAMACPP_INDEX" "$llama" 2>/dev/null; then
    say "llama.cpp: the CUDA build"
  else
    say "llama.cpp: no CUDA build in $XLLAMACPP_INDEX; the CPU build goes along, and the figures will say so"
    wheels "$python" "$stage/wheels" --no-deps "$llama"
  fi
  printf 'xllamacpp\n' >>"$stage/wheels/requirements.txt"
  say "models: $MODELS"
  # shellcheck disable=SC2086 # a list of names
  (cd "$ROOT" && "$python" main.py models fetch $MODELS >/dev/null)
  cache="${MODEL_CACHE_DIR:-$HOME/.cache/whisperfusion}"
  for model in $MODELS; do cp -r "$cache/$model" "$stage/models/"; done
  cp -r "${WHISPERFUSION_SPEECH:-$ROOT/../shared/data/speech}" "$stage/speech"
  (cd "$ROOT" && "$python" -c 'from bench import reference; reference.word_times()')
  cp "$ROOT/bench/out/reference-words-whisper-base.json" "$stage/"
  archive "$stage" "$SCRATCH/base.tar"
  rm -rf "$dir"; mkdir -p "$dir"
  split_into "$SCRATCH/base.tar" "$dir" base
  if [ "${WITH_CUDA:-yes}" = yes ]; then
    mapfile -t nvidia < <(grep '^nvidia-' "$ROOT/requirements-cuda.txt")
    wheels "$python" "$SCRATCH/cuda/wheels" --no-deps "${nvidia[@]}"
    archive "$SCRATCH/cuda" "$SCRATCH/cuda.tar"
    split_into "$SCRATCH/cuda.tar" "$dir" cuda
  fi
  du -sh "$dir" | cut -f1 | sed 's/$/ in all/'
}

archive() { tar --create --file="$2" --directory="$1" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner .; }

# --- there --------------------------------------------------------------------------------------

unpack() {
  local target="$1" python version
  [ -f "$target/pieces/base.whole" ] || fail "no pieces in $target; carry.sh take brings them there"
  names_in "$target" | while read -r name; do
    complete "$target" "$name"
    join "$target" "$name" | tar --extract --directory="$target"
  done
  version="$(cat "$target/python-version")"
  python="${PYTHON:-$(command -v "python$version" || command -v python3)}"
  "$python" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$version')" ||
    fail "$python is not Python $version, for which the wheels are; pack again with PYTHON_VERSION"
  "$python" -m venv --without-pip "$target/venv"
  offline "$target" -r "$target/wheels/requirements.txt"
  if compgen -G "$target/wheels/nvidia_*" >/dev/null; then offline "$target" "$target"/wheels/nvidia_*; fi
  if [ -n "${CUBLAS:-}" ]; then
    mkdir -p "$target/lib"
    ln -sf "$CUBLAS" "$target/lib/libcublas.so.12"
  fi
  say "ready: $target/venv/bin/python bench/gpu/measure.py --data $target"
}

# pip runs from its own wheel: the new environment has none.
offline() {
  local target="$1" pip; shift
  pip="$(find "$target/wheels" -name 'pip-*.whl' | head -n 1)"
  "$target/venv/bin/python" "$pip/pip" install --quiet --no-compile --no-index --no-deps --find-links "$target/wheels" "$@"
}

case "${1:-}" in
  pack) shift; pack "$@" ;;
  split) split_into "$2" "$3" "$4" ;;
  take) shift; take "$@" ;;
  join) join "$2" "$3" ;;
  unpack) unpack "$2" ;;
  *) sed -n '2,12s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 2 ;;
esac
