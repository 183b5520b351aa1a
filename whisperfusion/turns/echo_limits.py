"""What an echo of a reply can be at most, if playback was paused as soon as it was detected.

An echo is made of what was played. `sounding_s`: for how long playback had gone on when the speech
was detected; what a client still had to play comes on top. Of 42 echoes that were cut after 0.22 to
0.45 s none had more than 8 letters or lasted more than 0.3 s longer than that.
"""

from __future__ import annotations

from whisperfusion.text.segmentation import words

MORE_S = 0.25  # audible after the pause: the lead of a client, the way there
LETTERS_PER_S = 20.0  # of a fast voice
# by which it outlasts the playback, as the detector has it: the pre-roll (0.3 s), the lead of a
# client that does not pause (0.2 s), reverberation, the detector
LONGER_S = 0.65


def fits(text: str, sounding_s: float) -> bool:
    """Has `text` no more letters than fit into what was played?"""
    return len("".join(words(text))) <= LETTERS_PER_S * (sounding_s + MORE_S)


def lasts(speech_s: float, sounding_s: float) -> bool:
    """Does speech of `speech_s`, with its pre-roll, not go on when playback is paused?"""
    return speech_s <= sounding_s + LONGER_S
