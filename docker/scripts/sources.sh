# shellcheck shell=bash
# shellcheck disable=SC2034 # variables set here are read by the scripts that source it
# Where the weights come from that engines are built of. Sourced by the build scripts.
#
# Every repository is pinned to a commit where one could be established in public lock files and
# model cards; `main` means that none was. GB is the disk space that a build needs: download,
# converted checkpoint and engine together.

PHI_MODELS="phi-2 phi-3-mini-4k-instruct dolphin-2_6-phi-2"
MISTRAL_MODELS="openhermes-2.5-mistral-7b mistral-7b-instruct-v0.2"
WHISPER_MODELS="tiny tiny.en base base.en small small.en medium medium.en large-v2 large-v3"

# llm_source ID: sets REPOSITORY, REVISION, GB, and for the Phi family MODEL_TYPE (a choice of
# examples/phi/convert_checkpoint.py).
llm_source() {
  MODEL_TYPE=""
  case "$1" in
    phi-2)
      REPOSITORY=microsoft/phi-2 REVISION=ef382358ec9e382308935a992d908de099b64c23 GB=18 MODEL_TYPE=phi-2
      ;;
    phi-3-mini-4k-instruct)
      # transformers 4.40.2 has no Phi-3 of its own and runs the repository's modeling_phi3.py, so
      # the commit decides whether it loads. This one is of mid 2024: the update that knows the
      # system role, with a config.json written by transformers 4.40.2. Later commits need a newer
      # transformers. If it should not load: ff07dc01615f8113924aed013115ab2abd32115b of 2024-06-11
      # is the original release by the model card's own words (no system role).
      REPOSITORY=microsoft/Phi-3-mini-4k-instruct REVISION=c1358f8a35e6d2af81890deffbbfa575b978c62f GB=25
      MODEL_TYPE=Phi-3-mini-4k-instruct
      ;;
    dolphin-2_6-phi-2)
      # No commit could be established whose weights have today's names (the first ones had those of
      # the older Phi code).
      REPOSITORY=cognitivecomputations/dolphin-2_6-phi-2 REVISION=main GB=18 MODEL_TYPE=phi-2
      ;;
    openhermes-2.5-mistral-7b)
      REPOSITORY=teknium/OpenHermes-2.5-Mistral-7B REVISION=24c0bea14d53e6f67f1fbe2eca5bfe7cae389b33 GB=45
      ;;
    mistral-7b-instruct-v0.2)
      REPOSITORY=mistralai/Mistral-7B-Instruct-v0.2 REVISION=41b61a33a2483885c981aa79e0df6b32407ed873 GB=45
      ;;
    *) return 1 ;;
  esac
}

# whisper_source SIZE: sets SUM (the checkpoint's SHA-256, a part of its address), REVISION (of
# openai/whisper-SIZE, for its tokenizer.json), CHECKPOINT_URLS and GB.
whisper_source() {
  case "$1" in
    tiny)
      SUM=65147644a518d12f04e32d6f3b26facc3f8dd46e5390956a9424a650c0ce22b9
      REVISION=169d4a4341b33bc18d8881c4b69c2e104e1cc0af GB=1
      ;;
    tiny.en)
      SUM=d3dd57d32accea0b295c96e26691aa14d8822fac7d9d27d5dc00b4ca2826dd03
      REVISION=87c7102498dcde7456f24cfd30239ca606ed9063 GB=1
      ;;
    base)
      SUM=ed3a0b6b1c0edf879ad9b11b1af5a0e6ab5db9205f891f668f8b0e6c6326e34e
      REVISION=e37978b90ca9030d5170a5c07aadb050351a65bb GB=1
      ;;
    base.en)
      SUM=25a8566e1d0c1e2231d1c762132cd20e0f96a85d16145c3a00adf5d1ac670ead
      REVISION=911407f4214e0e1d82085af863093ec0b66f9cd6 GB=1
      ;;
    small)
      SUM=9ecf779972d90ba49c06d968637d720dd632c55bbf19d441fb42bf17a411e794
      REVISION=973afd24965f72e36ca33b3055d56a652f456b4d GB=2
      ;;
    small.en)
      SUM=f953ad0fd29cacd07d5a9eda5624af0f6bcf2258be67c92b79389873d91e0872
      REVISION=e8727524f962ee844a7319d92be39ac1bd25655a GB=2
      ;;
    medium)
      SUM=345ae4da62f9b3d59415adc60127b97c714f32e89e936602e85993674d08dcb1
      REVISION=abdf7c39ab9d0397620ccaea8974cc764cd0953e GB=4
      ;;
    medium.en)
      SUM=d7440d1dc186f76616474e0ff0b3b6b879abc9d1a4926b7adfa41db2d497ab4f
      REVISION=2e98eb6279edf5095af0c8dedb36bdec0acd172b GB=4
      ;;
    large-v2)
      SUM=81f7c96c852ee8fc832187b0132e569d6c3065a3252ed18e56effd0b6a73e524
      REVISION=ae4642769ce2ad8fc292556ccea8e901f1530655 GB=8
      ;;
    large-v3)
      SUM=e5b1a55b89c1367dacf97e3e19bfd829a01529dbfdeefa8caeb59b3f1b81dadb
      REVISION=06f233fe06e710322aca913c1bc4249a0d71fce1 GB=8
      ;;
    *) return 1 ;;
  esac
  REPOSITORY="openai/whisper-$1"
  # The second is the storage behind the first, whose kind of host was announced to end in January
  # 2025. The sum decides what is taken.
  CHECKPOINT_URLS=("https://openaipublic.azureedge.net/main/whisper/models/$SUM/$1.pt"
    "https://openaipublic.blob.core.windows.net/main/whisper/models/$SUM/$1.pt")
}
