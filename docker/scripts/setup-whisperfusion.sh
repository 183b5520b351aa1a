#!/usr/bin/env bash
# The Python environment of the GPU image in $VENV, in a strict order, each step verified before the
# next. Safe to run twice.
#
# Versions are in two files of the project only: requirements-gpu.txt (direct requirements) and
# constraints-gpu.txt (every pin). The order matters because what is installed first decides what
# later packages are built and resolved against: torch before all, av as a wheel before anything
# asks for an older one, TensorRT before TensorRT-LLM looks for its newest, faster-whisper last: it
# can pull nothing down.
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

: "${REQUIREMENTS:=$PROJECT/requirements-gpu.txt}"
: "${CONSTRAINTS:=$PROJECT/constraints-gpu.txt}"
: "${VENV_PYTHON:=3.10}"
DONE="$VENV/setup-done"
# NVIDIA's source packages otherwise start a pip of their own, which does not know NVIDIA's index.
export NVIDIA_TENSORRT_DISABLE_INTERNAL_PIP=1

check() { "$PYTHON" "$SCRIPTS/installed.py" "$@"; }

# lines PATTERN: the index options and the matching requirement lines; fails when there is none, so
# that a renamed line is noticed.
lines() {
  grep -E '^--' "$REQUIREMENTS" || true
  grep -E "$1" "$REQUIREMENTS" || fail "requirements-gpu.txt has no line for $1"
}

# install FILE OPTIONS...: unsafe-best-match, because NVIDIA's index also has some packages of PyPI
# in other versions than the pinned.
install() {
  local file=$1
  shift
  run uv pip install --python "$PYTHON" --index-strategy unsafe-best-match --constraints "$CONSTRAINTS" --build-constraints "$CONSTRAINTS" \
    --requirements "$file" "$@"
}

SUM="$(cat "$REQUIREMENTS" "$CONSTRAINTS" "${BASH_SOURCE[0]}" | sha256sum | cut -d ' ' -f 1)"
# A package whose version was changed since is reinstalled.
if [ "$(cat "$DONE" 2>/dev/null)" = "$SUM" ] && check pins "$CONSTRAINTS"; then
  say "$VENV is set up"
  exit 0
fi
if [ -d "$VENV" ] && [ ! -w "$VENV" ]; then
  fail "$VENV belongs to another user; in the image: docker compose --profile gpu up --build --force-recreate"
fi
LISTS="$(mktemp -d)"
temporary "$LISTS"

step "0 system tools"
[ "$(uname -m)" = x86_64 ] ||
  fail "this machine is $(uname -m), and TensorRT-LLM 0.10.0 has wheels for x86_64 only (Grace, DGX Spark and Jetson are aarch64);" \
    "docs/gpu.md names the other forms"
uv --version || fail "uv is not in PATH; its installer puts it into ~/.local/bin (before 2024: ~/.cargo/bin)"
for tool in git curl gcc mpicc; do
  command -v "$tool" >/dev/null || fail "$tool is missing: apt-get install git curl build-essential openmpi-bin libopenmpi-dev"
done
rm -f -- "$DONE"

step "1 environment"
if [ ! -x "$PYTHON" ]; then run uv venv --python "$VENV_PYTHON" "$VENV"; fi
"$PYTHON" "$SCRIPTS/installed.py" python "$VENV_PYTHON"
printf '%s\n' pip wheel 'setuptools<81' >"$LISTS/1" # mpi4py 3.1 does not build with 81, and some packages import pkg_resources, gone in 82
install "$LISTS/1"
check between setuptools 40 81

step "2 torch"
lines '^torch(audio)?[<>=]' >"$LISTS/2"
install "$LISTS/2"
check between torch 2.2 2.4
check same torchaudio torch

step "3 av"
lines '^av[<>=]' >"$LISTS/3"
install "$LISTS/3" --only-binary av # its source needs FFmpeg's headers and breaks with Cython 3
AV="$(check between av 12 18)"

step "4 TensorRT"
lines '^tensorrt(-cu12(-bindings|-libs)?)?==' >"$LISTS/4"
install "$LISTS/4"
for package in tensorrt tensorrt-cu12 tensorrt-cu12-bindings tensorrt-cu12-libs; do
  check between "$package" 10.0.1 10.0.2
done

step "5 TensorRT-LLM"
lines '^tensorrt[_-]llm==' >"$LISTS/5"
install "$LISTS/5"
check between tensorrt_llm 0.10.0 0.10.1 # not by importing it: that needs an NVIDIA driver

step "6 requirements without faster-whisper"
grep -v '^faster-whisper' "$REQUIREMENTS" >"$LISTS/6"
install "$LISTS/6"
check between torch 2.2 2.4

step "7 faster-whisper"
lines '^faster-whisper[<>=]' >"$LISTS/7"
install "$LISTS/7" --only-binary av
[ "$(check between av 12 18)" = "$AV" ] || fail "faster-whisper changed av: it was $AV"

step "8 hub tools"
# Not upgraded: transformers 4.40.2 needs huggingface-hub below 1 and tokenizers 0.19.
check between huggingface-hub 0.34 1
check between tokenizers 0.19 0.20
[ -x "$VENV/bin/hf" ] || [ -x "$VENV/bin/huggingface-cli" ] || fail "neither hf nor huggingface-cli is in $VENV/bin"

step "9 the whole set"
run uv pip check --python "$PYTHON"
check pins "$CONSTRAINTS"
printf '%s\n' "$SUM" >"$DONE"
STEP=""
say "$VENV is set up"
