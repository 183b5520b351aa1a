"""The engines to build for the settings: the flags, environment and `.env` of main.py, read by the
same code.

Prints name=value lines for build-models.sh: model_cache_dir, engines_dir, asr_gpu, llm_gpu, and
whisper, llm, whisperspeech where the settings need them. An engine that is given as a folder was
built by hand and is not printed.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from whisperfusion import settings
from whisperfusion.errors import SettingsError
from whisperfusion.models import tensorrt_folders
from whisperfusion.settings import Settings


def wanted(chosen: Settings) -> dict[str, str]:
    """name -> value, in the order of building."""
    lines = {
        "model_cache_dir": str(chosen.cache),
        "engines_dir": str(chosen.engines),
        "asr_gpu": chosen.asr_gpu,
        "llm_gpu": chosen.llm_gpu,
    }
    if chosen.asr_engine == "tensorrt-whisper":
        folder = tensorrt_folders.folder("asr", chosen)
        if folder.parent == chosen.engines:
            lines["whisper"] = folder.name.removeprefix("whisper-")
    if chosen.llm_engine == "tensorrt-llm":
        folder = tensorrt_folders.folder("llm", chosen)
        if folder.parent == chosen.engines:
            lines["llm"] = folder.name
    if chosen.tts_engine == "whisperspeech":
        lines["whisperspeech"] = "yes"
    return lines


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(add_help=False)
    settings.add_flags(parser)
    flags, _ = parser.parse_known_args(arguments)
    try:
        chosen = settings.build(vars(flags), os.environ, settings.read_env_file(Path(".env")))
    except SettingsError as error:
        print(f"{error}", file=sys.stderr)
        return 2
    for name, value in wanted(chosen).items():
        print(f"{name}={value}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
