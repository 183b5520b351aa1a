"""What is wrong with a recording as the sample of a voice, in words that say what to do.

The limits were set by people's recordings, clean ones and ones with noise and clipping added
(docs/voices.md).
"""

from __future__ import annotations

from collections.abc import Iterator

from whisperfusion.wire.asr_events import SampleQuality

LONGEST_S = 60.0  # of sound
LEAST_SPEECH_S = 5.0
LEAST_CONSENT_S = 1.0  # of speech in the recording of a consent
QUIETEST_DB = -45.0  # of the speech, dBFS
LEAST_OVER_NOISE_DB = 15.0  # of the speech over the pauses
MOST_CLIPPED = 0.002  # share of the speech at full scale

TOO_LONG = f"it is longer than {LONGEST_S:.0f} s; send 10 to 30 s of it"


def problems(found: SampleQuality, least_speech_s: float = LEAST_SPEECH_S) -> Iterator[str]:
    """None where it is good."""
    if found.speech < 0.2:
        yield "no speech was found in it; record a voice"
        return
    if found.speech < least_speech_s:
        yield (
            f"it has {found.speech:.1f} s of speech; at least {least_speech_s:.0f} s are needed, "
            "best are 10 to 30 s"
        )
    if found.clipped > MOST_CLIPPED:
        yield "it is clipped (too loud for the recorder); turn the microphone down, or stand back"
    if found.level_db < QUIETEST_DB:
        yield (
            f"it is too quiet (the speech is at {found.level_db:.0f} dBFS, at least "
            f"{QUIETEST_DB:.0f} are needed); turn the microphone up, or come closer"
        )
    if found.noise_db is not None and found.level_db - found.noise_db < LEAST_OVER_NOISE_DB:
        yield (
            f"it is noisy (the speech is {found.level_db - found.noise_db:.0f} dB over the pauses, "
            f"at least {LEAST_OVER_NOISE_DB:.0f} are needed); record in a quieter place"
        )
    if found.speakers is not None and found.speakers > 1:
        yield f"{found.speakers} people speak in it; one person alone may be heard"
