"""Texts of any script and kind, the same ones for each seed; and what became of them in a voice.

python tests/odd_texts.py hibari 20000        # prints the counts
python tests/odd_texts.py piper 20000 10      # of every tenth the sound is made too, of all others
                                              # the phonemes
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from whisperfusion.engines import EngineError
from whisperfusion.text.normalization import spoken
from whisperfusion.text.reply_pieces import pieces_of

BLOCKS = [
    (0x20, 0x7E),
    (0x20, 0x7E),
    (0xA0, 0x17F),
    (0x180, 0x24F),
    (0x250, 0x2FF),
    (0x300, 0x36F),
    (0x370, 0x3FF),
    (0x400, 0x52F),
    (0x530, 0x5FF),
    (0x600, 0x6FF),
    (0x900, 0x97F),
    (0xE00, 0xE7F),
    (0x10A0, 0x10FF),
    (0x1100, 0x11FF),
    (0x1E00, 0x1FFF),
    (0x2000, 0x206F),
    (0x2070, 0x20CF),
    (0x2100, 0x218F),
    (0x2190, 0x22FF),
    (0x2460, 0x24FF),
    (0x2C60, 0x2C7F),
    (0x3040, 0x30FF),
    (0x4E00, 0x4FFF),
    (0xA720, 0xA7FF),
    (0xAC00, 0xAD00),
    (0xD800, 0xDFFF),
    (0xE000, 0xE010),
    (0xFB00, 0xFDFF),
    (0xFF00, 0xFFEF),
    (0x10300, 0x1034F),
    (0x1D400, 0x1D7FF),
    (0x1F300, 0x1F6FF),
    (0xE0000, 0xE007F),
    (0, 0x1F),
]
BITS = (
    "Hello the no. Dr. 5 3.14 $5 50% ½ ² ₹ ° İ £ ß ŉ ǰ ſ ﬁ C# a@b.c http://x.y *x* `y` [a](b) [[ "
    "]] <b> &amp; \" ' ’ — … ... ?! -5 1/2 2026-11-28 007 99999999999999999999 é ñ ﷽ İ£ ₹° A. "
    "U.S. e.g. I'm 's -- __ ~ ^ | \\ / # @ % & + ="
).split(" ")


def texts(count: int, seed: int = 1) -> Iterator[str]:
    chance = random.Random(seed)
    for _ in range(count):
        kind = chance.random()
        if kind < 0.3:
            made = [chance.choice(BITS) for _ in range(chance.randint(1, 6))]
            yield chance.choice(["", " "]).join(made)
            continue
        blocks = [chance.choice(BLOCKS) for _ in range(1 if kind < 0.6 else 4)]
        signs = (chr(chance.randint(*chance.choice(blocks))) for _ in range(chance.randint(1, 16)))
        yield "".join(sign if chance.random() < 0.85 else " " for sign in signs)


def outcome(voice: Any, text: str, as_it_stands: bool) -> str:
    """What became of `text`: "sound", "silence" or "refused".

    Raises what must never leave a voice.
    """
    try:
        parts = (
            [text]
            if as_it_stands
            else [spoken(piece.spoken, voice.language) for piece in pieces_of(text)]
        )
        pcm = np.concatenate(
            [
                np.zeros(0, np.float32),
                *(one for part in parts for one in voice.synthesize(part, "", 1.5)),
            ]
        )
    except EngineError:
        return "refused"
    assert pcm.dtype == np.float32 and np.isfinite(pcm).all()
    return "sound" if len(pcm) else "silence"


def phonemes(voice: Any, text: str) -> int:
    """How many Piper finds in `text`: the native half of its work, at a tenth of the time."""
    rows = voice._voice.phonemize(
        text.encode("utf-8", "replace").decode().replace("[[", "[").replace("\0", " ")
    )
    return sum(len(voice._voice.phonemes_to_ids(row)) for row in rows)


def main() -> None:
    import os

    from whisperfusion import settings
    from whisperfusion.engines import load
    from whisperfusion.models import store as models

    name, count, every = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1
    chosen = settings.build({}, os.environ, {})
    model = models.resolve("piper-joe", "tts", chosen) if name == "piper" else None
    voice = load(
        "tts",
        name,
        model=str(models.fetch(model, chosen.cache, chosen.sources)) if model else "",
        voice="",
    )
    found: Counter[str] = Counter()
    for at, text in enumerate(texts(count)):
        if at % every == 0:
            found[outcome(voice, text, at // every % 2 == 0)] += 1
        else:
            found["phonemes" if phonemes(voice, text) else "none"] += 1
        if at % 1000 == 999:
            print(at + 1, dict(found), flush=True)


if __name__ == "__main__":
    main()
