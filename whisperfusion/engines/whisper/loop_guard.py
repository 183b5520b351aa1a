"""Tells Whisper's loops from people who repeat themselves, by the sound: words that were spoken
took time.

In a short context Whisper may write a sentence again and again, up to the last token that it may.
People say "no, no, no, no" too, count, spell, and read out card numbers: the text alone cannot
tell. The alignment of the text with the sound can (the cross attention of the same model, a seventh
of a decode): what was spoken is spread over the sound, what was made up lies in one point of it,
six tokens in a tenth of a second. So a loop ends the text where its tokens take no time, and only
there; the sound after that is decoded again.

The opposite fault: words are passed over, mostly repeated ones ("What is the, what is the name"
becomes "What is the name"). Then there is too little text for the sound, and one token lasts for
seconds.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np

from whisperfusion.audio import MICROPHONE_RATE, Samples
from whisperfusion.engines.pcm import loudness

REPEAT = 6  # tokens that were there before: five are in honest parallel sentences all the time
# from the first to the sixth token: when less they were not spoken, for fast speech has eight a
# second
SQUEEZED_S = 0.15
LOUD = 0.1  # of the loudest window: sound that may be speech (-20 dB)
# the quietest windows (percent) are the room, and speech is so much louder: of noise Whisper makes
# words
QUIET, OVER_QUIET = 10, 2.5
REST_S = 0.4  # of such sound after the text, which is worth a decode
FASTEST = 28.0  # letters a second that a person may say; a fast reader has 20
THIN = 17.0  # letters a second of sound: less is worth a look at the alignment
# one token that lasts so long, with so much loud sound in it: more was spoken there
LONG_S, PASSED_OVER_S = 1.0, 0.5
OF_WIDE_LETTERS = 4  # one digit, one Chinese character are spoken as long as four letters


def copies(tokens: Sequence[int]) -> list[bool]:
    """Which tokens belong to six in a row that were there before."""
    seen: set[tuple[int, ...]] = set()
    marks = [False] * len(tokens)
    for at in range(len(tokens) - REPEAT + 1):
        six = tuple(tokens[at : at + REPEAT])
        if six in seen:
            marks[at : at + REPEAT] = [True] * REPEAT
        seen.add(six)
    return marks


def loop_at(tokens: Sequence[int], starts: Sequence[float]) -> int | None:
    """The first token of a loop: copies to the end of the text, which take no time.

    `starts`: of each token and of the end, in seconds.
    """
    marks = copies(tokens)
    first = len(tokens)
    while first and marks[first - 1]:
        first -= 1
    for at in range(first, len(tokens) - REPEAT + 1):
        # the last may be a full stop, which lasts to the end of the sound
        if starts[at + REPEAT - 1] - starts[at] < SQUEEZED_S:
            return at
    return None


def first_copy(tokens: Sequence[int]) -> int | None:
    """How many tokens stand before the end of the first six that were there before; None:
    nothing is repeated.
    """
    marks = copies(tokens)
    return marks.index(True) if True in marks else None


def token_starts(
    whisper: Any, tokenizer: Any, encoded: Any, tokens: Sequence[int], duration: float
) -> tuple[list[float], list[float]]:
    """When each of `tokens` and their end begin in the sound (s), and their probabilities.

    `whisper` is a faster_whisper.WhisperModel.
    """
    found = whisper.model.align(
        encoded, tokenizer.sot_sequence, [list(tokens)], int(duration * 100), median_filter_width=7
    )[0]
    pairs = np.array(found.alignments)
    jumps = np.pad(np.diff(pairs[:, 0]), (1, 0), constant_values=1).astype(bool)
    starts = (pairs[jumps, 1] / 50).tolist()
    return starts + [duration] * (len(tokens) + 1 - len(starts)), list(found.text_token_probs)


def passed_over(starts: Sequence[float], pcm: Samples) -> bool:
    """Is there a token with more sound in it than a word can have?"""
    loud, step = loud_windows(pcm)
    return any(
        loud[int(start / step) : int(end / step)].sum() * step > PASSED_OVER_S
        for start, end in itertools.pairwise(starts)
        if end - start > LONG_S
    )


def too_fast(text: str, pcm: Samples) -> bool:
    """More than a person can say in the time."""
    return letters(text) > FASTEST * len(pcm) / MICROPHONE_RATE


def too_thin(text: str, pcm: Samples) -> bool:
    """Less than a person says in so much sound."""
    return letters(text) < THIN * sounding_s(pcm)


def letters(text: str) -> int:
    """How much there is to say: letters, where a digit, or a letter of a script without an
    alphabet, counts for four.
    """
    count = 0
    for character in text:
        if character.isdigit() or unicodedata.category(character) == "Lo":
            count += OF_WIDE_LETTERS
        elif character.isalpha():
            count += 1
    return count


def rest(pcm: Samples, from_s: float) -> Samples:
    """The sound after `from_s`, when there may be speech in it; else nothing."""
    loud, step = loud_windows(pcm)
    if loud[int(from_s / step) :].sum() * step < REST_S:
        return pcm[:0]
    return pcm[int(from_s * MICROPHONE_RATE) :]


def sounding_s(pcm: Samples) -> float:
    loud, step = loud_windows(pcm)
    return float(loud.sum() * step)


def loud_windows(pcm: Samples) -> tuple[Samples, float]:
    """Bool [windows]: is it nearly as loud as the loudest, and louder than the room; and the
    length of a window in seconds.
    """
    levels = loudness(pcm)
    room = np.percentile(levels, QUIET) if len(levels) else 0.0
    return levels > max(LOUD * levels.max(initial=0.0), OVER_QUIET * room), 0.03
