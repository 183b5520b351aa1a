"""What is known of each language's words, one file of data for each: the most spoken ones, and
those of the voices that come with the server.

A language without a file has none of this: silence, the end-of-turn model and question marks decide
alone. English has more, in `whisperfusion.text.phrases`, and here only what is said in it.
"""

from __future__ import annotations

from whisperfusion.text.languages import ar, bn, de, es, fr, hi, it, ja, pt, ru, ur, zh
from whisperfusion.text.languages.words import Words

ENGLISH = Words(
    "(Answer in English.)",
    "One moment.",
    "Sorry, something went wrong. Please try again.",
    "Sorry, I was interrupted.",
)
NOTHING = Words("", "")
WORDS: dict[str, Words] = {
    "en": ENGLISH,
    **{
        module.__name__.rpartition(".")[2]: module.WORDS
        for module in (ar, bn, de, es, fr, hi, it, ja, pt, ru, ur, zh)
    },
}
NOTES = frozenset(one.note for one in WORDS.values())


def words_of(language: str | None) -> Words:
    """By ISO code; empty lists where nothing is known."""
    return WORDS.get(language or "", NOTHING)
