"""Who is speaking: recordings divided among their speakers (`diarization`), and the speakers of a
call, turn by turn (`call_speakers`).

Both compare speaker embeddings (`engines.SpeakerEncoder`) by their cosine. numpy and the protocols
of engines, nothing else: no clock, socket or thread.
"""

from __future__ import annotations


def letters(number: int) -> str:
    """The name of the speaker `number`, counted from 0: A to Z, AA, AB and so on."""
    name = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        name = chr(ord("A") + rest) + name
    return name
