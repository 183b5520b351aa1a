#!/usr/bin/env bash
# TensorRT-LLM's example scripts in $EXAMPLES_DIR: they convert checkpoints and build Whisper, and
# no wheel carries them.
#
# From the commit of release 0.10.0, three folders of it, without the repository's large files.
# Their requirements.txt files are not installed: they ask for unpinned packages that disturb the
# set, and what is run here needs none of them.
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

: "${EXAMPLES_URL:=https://github.com/NVIDIA/TensorRT-LLM.git}"
: "${EXAMPLES_COMMIT:=9bd15f1937f52658fb116f30d58fea786ce5d03b}"
FOLDERS=(examples/whisper examples/phi examples/llama)
FILES=(examples/whisper/build.py examples/phi/convert_checkpoint.py examples/llama/convert_checkpoint.py)
export GIT_LFS_SKIP_SMUDGE=1

is_there() { [ "$(git -C "$EXAMPLES_DIR" rev-parse HEAD 2>/dev/null)" = "$EXAMPLES_COMMIT" ]; }

if is_there; then
  say "$EXAMPLES_DIR is at $EXAMPLES_COMMIT"
  exit 0
fi

step "fetch the examples"
HALF="$EXAMPLES_DIR.half"
temporary "$HALF"
rm -rf -- "$HALF"
mkdir -p -- "$(dirname "$EXAMPLES_DIR")"
git init --quiet "$HALF"
git -C "$HALF" remote add origin "$EXAMPLES_URL"
git -C "$HALF" config core.sparseCheckout true # by hand: the options of `git sparse-checkout` differ between versions
printf '/%s/\n' "${FOLDERS[@]}" >"$HALF/.git/info/sparse-checkout"
run git -C "$HALF" fetch --quiet --depth 1 --filter=blob:none origin "$EXAMPLES_COMMIT"
run git -C "$HALF" -c advice.detachedHead=false checkout --quiet FETCH_HEAD

step "verify the examples"
[ "$(git -C "$HALF" rev-parse HEAD)" = "$EXAMPLES_COMMIT" ] || fail "got another commit than $EXAMPLES_COMMIT"
need_files "$HALF" "${FILES[@]}"
rm -rf -- "$EXAMPLES_DIR"
mv -T -- "$HALF" "$EXAMPLES_DIR"
STEP=""
say "$EXAMPLES_DIR is at $EXAMPLES_COMMIT"
