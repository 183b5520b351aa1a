"""Prints docs/engines.md from the registry of engines: `make docs`."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from whisperfusion.engines.registry import ENGINES, Entry  # noqa: E402

KINDS = {
    "asr": "Speech to text (`ASR_ENGINE`)",
    "llm": "Language model (`LLM_ENGINE`)",
    "tts": "Text to speech (`TTS_ENGINE`)",
    "vad": "Voice activity detection (`VAD_ENGINE`)",
    "turn": "Turn detection (`TURN_ENGINE`)",
    "speaker": "Who is speaking (`SPEAKER_ENGINE`)",
}
INTRODUCTION = """\
# Engines

This page is generated from `whisperfusion/engines/registry.py` by `make docs`; do not edit it. A
test compares every entry with its engine.

[CONTRIBUTING.md](../CONTRIBUTING.md#add-an-engine) explains how to add one, here or in a package of
your own; [models.md](models.md) how to choose one.
"""
HEADER = "| engine | packages | can | voices | languages |\n| --- | --- | --- | --- | --- |"


def page() -> str:
    parts = [INTRODUCTION]
    for kind, title in KINDS.items():
        rows = [row(name, entry) for name, entry in ENGINES[kind].items()]
        parts.append(f"## {title}\n{HEADER}\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def row(name: str, entry: Entry) -> str:
    languages = "of its model" if entry.languages is None else ", ".join(entry.languages) or "any"
    cells = (
        f"`{name}`",
        ", ".join(entry.packages) or "none",
        ", ".join(entry.abilities) or "—",
        ", ".join(entry.voices) or "—",
        languages,
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    print(page(), end="")
