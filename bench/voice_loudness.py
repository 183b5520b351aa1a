"""How loud the voices of an engine are before they are leveled, and the gain that each needs:
`Entry.gains_db` of the registry of engines.

    python -m bench.voice_loudness hibari
    python -m bench.voice_loudness piper --model ~/.cache/whisperfusion/piper-joe
    python -m bench.voice_loudness kokoro --model ~/.cache/whisperfusion/kokoro-v1.0 af_heart
"""

from __future__ import annotations

import argparse

import numpy as np

from whisperfusion.engines import load
from whisperfusion.synthesis.leveling import TARGET
from whisperfusion.synthesis.loudness import block_powers, integrated, true_peaks
from whisperfusion.synthesis.voice import resampled

TEXTS = (
    "Sure, I can help you with that.",
    "The capital of France is Paris, and about two million people live there.",
    "Hello! How are you today?",
    "I am sorry, but I did not find anything about it.",
    "On the third of March, twelve people paid nine dollars each to hear it.",
    "Yes.",
    "Would you like me to set a timer for ten minutes?",
    "Photosynthesis is how plants turn sunlight, water and air into sugar and oxygen.",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("engine")
    parser.add_argument("voices", nargs="*", help="default: the engine's first one")
    parser.add_argument("--model")
    given = parser.parse_args()
    engine = load("tts", given.engine, **({"model": given.model} if given.model else {}))
    print("voice | LUFS | from | to | true peak | gain in dB")
    for voice in given.voices or engine.voices[:1]:
        made = [
            resampled(np.concatenate(list(engine.synthesize(text, voice))), engine.sample_rate)
            for text in TEXTS
        ]
        powers = [block_powers(pcm) for pcm in made]
        each, whole = [integrated(one) for one in powers], integrated(np.concatenate(powers))
        peak_db = 20 * np.log10(max(true_peaks(pcm).max() for pcm in made))
        print(
            f"{voice} | {whole:.1f} | {min(each):.1f} | {max(each):.1f} | {peak_db:.1f} | "
            f"{TARGET - whole:.1f}"
        )


if __name__ == "__main__":
    main()
