"""What is stored, as the answers of the HTTP interface show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from whisperfusion.custom_voices.store import ConsentRecording, CustomVoice


def voice(one: CustomVoice, clones: bool) -> dict[str, Any]:
    """OpenAI's fields, and ours: `usable` where the engine that speaks clones voices (`clones`),
    `speakers` None = how many people speak was not checked.
    """
    return {
        "id": one.id,
        "object": "audio.voice",
        "type": "audio_sample",
        "name": one.name,
        "created_at": one.created,
        "usable": clones,
        "speech_s": one.speech_s,
        "speakers": one.speakers,
        "consent": {name: value for name, value in asdict(one.consent).items() if value},
    }


def consent(one: ConsentRecording) -> dict[str, Any]:
    return {
        "id": one.id,
        "object": "audio.voice_consent",
        "name": one.name,
        "created_at": one.created,
        "language": one.language,
    }


def page(all: Sequence[ConsentRecording], limit: int, after: str) -> dict[str, Any]:
    """`limit` of them behind the one with the id `after`; nothing behind one that is gone."""
    ids = [one.id for one in all]
    begin = 0
    if after:
        begin = ids.index(after) + 1 if after in ids else len(ids)
    shown = all[begin : begin + limit]
    return {
        "object": "list",
        "data": [consent(one) for one in shown],
        "first_id": shown[0].id if shown else None,
        "last_id": shown[-1].id if shown else None,
        "has_more": begin + limit < len(ids),
    }
