"""Echo: is a transcript the assistant's own words, which came back through the microphone?

Recognizers mishear an echo, so words count as the same if they begin alike, and where an echo is
likely the letters of the whole are compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import accumulate

from whisperfusion.text.commands import has_command
from whisperfusion.text.segmentation import words

# that are compared: the work is their product, and it is done on the event loop
MAX_TRANSCRIPT_WORDS, MAX_SPOKEN_WORDS, MAX_LETTERS = 40, 1000, 60
# Share of letters: echoes that Whisper base misheard have 0.53 to 1, people who change the subject
# 0.3 to 0.54. Long texts agree by chance, and have whole words to be known by.
LIKELY, MIN_LETTERS, MAX_WORDS, MIN_CUT = 0.6, 8, 6, 4


def is_echo(
    text: str, spoken: str, letters: float | None = None, language: str | None = "en"
) -> bool:
    """Is `text` an echo of `spoken`: are at least two thirds of its words from there, in order and
    close together?

    `letters`: where an echo is likely, this share of the letters will do.
    """
    found, source = words(text)[-MAX_TRANSCRIPT_WORDS:], words(spoken)[-MAX_SPOKEN_WORDS:]
    if not found or not source:
        return False
    if len(found) <= 2 and has_command(found, language):
        # "hello there" may be an echo, "stop" never is
        return len(found) == 2 and source[:2] == found
    if letters is not None and len(found) <= MAX_WORDS and _letters_alike(found, source) >= letters:
        return True
    alike = [[_alike(x, y) for x in found] for y in source]
    for row, word in zip(alike, source, strict=True):
        # the last one may be cut: "the cap" of "the capital"
        row[-1] = row[-1] or (len(found) > 1 and word.startswith(found[-1]))
        # so may the first: "rightly" of "brightly"
        row[0] = row[0] or (len(found[0]) >= MIN_CUT and word.endswith(found[0]))
    width, enough = len(found) + max(1, len(found) // 3), -(-len(found) * 2 // 3)
    counts = [0, *accumulate(map(any, alike))]  # rows that equal some word, up to each
    spans = ((i, min(i + width, len(alike))) for i in range(max(1, len(source) - len(found) + 1)))
    return any(
        counts[end] - counts[i] >= enough and _in_order(alike[i:end]) >= enough for i, end in spans
    )


def _letters_alike(found: Sequence[str], source: Sequence[str]) -> float:
    """Share of letters that agree with the most similar stretch of `source`; 0 for too few.

    As fuzzywuzzy's partial ratio.
    """
    few, many = "".join(found)[:MAX_LETTERS], "".join(source)
    if len(few) < MIN_LETTERS:
        return 0.0
    blocks = SequenceMatcher(None, few, many, autojunk=False).get_matching_blocks()
    starts = {max(0, block.b - block.a) for block in blocks}
    return max(
        SequenceMatcher(None, few, many[start : start + len(few)], autojunk=False).ratio()
        for start in starts
    )


def _in_order(alike: Sequence[Sequence[bool]]) -> int:
    """Length of the longest common subsequence of two rows of words, from which word equals
    which.
    """
    best = [0] * (len(alike[0]) + 1)
    for row in alike:
        diagonal = 0
        for j, same in enumerate(row, 1):
            above = best[j]
            best[j] = diagonal + 1 if same else max(above, best[j - 1])
            diagonal = above
    return best[-1]


def _alike(a: str, b: str) -> bool:
    """The same word but perhaps for its ending, which an echo seldom keeps."""
    if a == b or a[:3] != b[:3]:
        return a == b
    shared = max(3, -(-max(len(a), len(b)) * 7 // 10))
    return min(len(a), len(b)) >= shared and a[:shared] == b[:shared]
