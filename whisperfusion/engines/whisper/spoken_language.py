"""The language of an utterance by the recognizer's probabilities, with hysteresis.

Whisper was trained on 99 languages, and takes short sounds for any of them. Only the languages that
the server speaks count, and a call stays in its language until another one is clear: by its share
of the probability in an utterance of some length, or in two utterances in a row. A clear one has to
prove itself by its words: decoded in both languages, the right one is more probable. One that is
almost certain only has to be written in its own script: Whisper translates fluently ("I would like
to reserve a table." for the French of it), and such words are as probable as the true ones.

Of 81 recordings in English among 13 languages the likeliest was another one in 2, by at most 0.57;
of their first 0.8 to 3 s in 23 of 294, once by 0.9998. There the words in the other language were
by at most 0.15 more probable a token (mean log probability), and in most cases less. In six
recordings in other languages they were by 0.21 to 1.36 more probable than in English, from 1.2 s
on but for two pieces without words that fit (Whisper base). Clear speech is at times written as it
is in whatever language is asked for ("Hola, ¿qué tal?" as English): then the words are the same and
equally probable, and prove it, too, if they are in the language's script.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

from whisperfusion.engines.protocols import ASROptions, Segment

# the language changes from this much audio (s) and this share of the probability on
CLEAR = ((1.0, 0.9), (2.0, 0.8))
CLEAR_AGAIN = 0.7  # where the utterance before pointed there, too
CERTAIN, CERTAIN_AGAIN = 0.98, 0.9  # from here on, its own script is proof enough
# by so much the words have to be more probable, in mean log probability of a token
BETTER, BETTER_AGAIN = 0.2, 0.1
SCRIPT = float("-inf")  # the words may be as improbable as they are
SAME = 0.75  # share of the letters that two decodes have in common, from which they are the same
# languages that are not written in Latin letters
OTHER_SCRIPTS = frozenset(
    "am ar as ba be bg bn bo el fa gu he hi hy ja ka kk km kn ko lo mk ml mn mr my ne pa ps ru sa "
    "sd si sr ta te tg th tt uk ur yi yue zh".split()
)
LONGEST = 200  # characters that are compared
_WORD = re.compile(r"\w+")


class Spoken(NamedTuple):
    """The first three are fields of `Hypothesis`. `better`: by how much the words in this language
    have to be more probable than in the expected one; None = it is that, or nothing is known.
    """

    language: str
    probability: float
    likeliest: str = ""
    better: float | None = None


def chosen(found: Mapping[str, float], options: ASROptions, seconds: float) -> Spoken:
    """The language to decode `seconds` of speech in.

    `found` are ISO codes and their probabilities; of one that is only named they mean nothing.
    """
    among = found
    if options.languages:
        known = {code: found[code] for code in options.languages if code in found}
        total = sum(known.values()) or 1.0
        among = {code: probability / total for code, probability in known.items()}
    if not among:  # none of those that are spoken here
        return Spoken(options.expected or options.languages[0], 0.0)
    likeliest = max(among, key=lambda code: among[code])
    share, again = among[likeliest], likeliest == options.suspected
    if not options.expected or likeliest == options.expected:
        return Spoken(likeliest, share)
    if options.expected not in found:  # it is only named
        return Spoken(likeliest if again else options.expected, share, "" if again else likeliest)
    if again and share >= CLEAR_AGAIN:
        better = SCRIPT if share >= CERTAIN_AGAIN else BETTER_AGAIN
        return Spoken(likeliest, share, better=better)
    if any(seconds >= s and share >= p for s, p in CLEAR):
        return Spoken(likeliest, share, better=SCRIPT if share >= CERTAIN else BETTER)
    return Spoken(options.expected, among.get(options.expected, 0.0), likeliest)


def proves(
    language: str, words: Sequence[Segment], others: Sequence[Segment], better: float
) -> bool:
    """Are `words`, decoded in `language`, more probable than `others`, the same sound decoded in
    another one, or the same in the script of `language`?
    """
    if not words or not others:
        return bool(words)
    text = " ".join(one.text for one in words)
    if better == SCRIPT:
        return _fits(language, text)
    if _mean(words) - _mean(others) >= better:
        return True
    return _is_same(text, " ".join(one.text for one in others)) and _fits(language, text)


def _is_same(text: str, other: str) -> bool:
    found, others = ("".join(_WORD.findall(one.lower()[:LONGEST])) for one in (text, other))
    return SequenceMatcher(None, found, others, autojunk=False).ratio() >= SAME


def _fits(language: str, text: str) -> bool:
    """Is `text` in the script of `language`, as far as that is Latin or not?"""
    letters = [letter for letter in text if letter.isalpha()]
    latin = sum(letter < "\u0250" for letter in letters)
    return (2 * latin < len(letters)) is (language in OTHER_SCRIPTS)


def _mean(segments: Sequence[Segment]) -> float:
    return sum(one.avg_logprob for one in segments) / len(segments)
