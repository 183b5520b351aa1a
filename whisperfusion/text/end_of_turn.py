"""The end of a turn by its words: do they ask for more, or are they complete?

`ending` says what kind of end they make: words that ask for more wait longer, so does a number or
a name that is being dictated, and a question that is finished waits least. All of it is word order
and small lists (`phrases`), English only; recognizers put "." after questions and "?" after
fragments, so marks count less than words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from functools import lru_cache

from whisperfusion.text import phrases
from whisperfusion.text.dictation import is_dictation
from whisperfusion.text.languages import words_of
from whisperfusion.text.segmentation import words

REQUEST_WORDS = 3  # "turn on", "play the" and "tell me" are begun

_MARKS = ("?", "？", "؟")
_TRAILING = re.compile(r"(?:\.\.\.|…|[-–—])\s*$")
_WRITTEN = re.compile(r"\w+(?:'\w+)*")
_SENTENCE_END = re.compile(r"[.!?]\s+")
_CONTRACTED = re.compile(r"\b(what|where|who|how|when|why)'(?:s|re)\b")
_ADJECTIVE = re.compile(r"[a-z]{3}(?:ous|ful|ive|able|ible|less|est|ical)$")


class Ending(Enum):
    """What the words so far say about the end of the turn."""

    OPEN = "open"  # they ask for more: "What is the"
    DICTATION = "dictation"  # something is being dictated: "my number is five five five"
    QUESTION = "question"  # a question that is complete
    REQUEST = "request"  # something to be done: "Turn on the lamp"
    PLAIN = "plain"  # nothing


def ending(text: str, language: str | None = "en") -> Ending:
    """How the words end.

    Other languages than English: trailing dots or dashes, question marks, and the last word where
    the language has a list of open ones, are all there is to go by.
    """
    if language != "en":
        if unfinished(text, language):
            return Ending.OPEN
        asked = text.rstrip().endswith(_MARKS) and len(words(text)) >= 3
        return Ending.QUESTION if asked else Ending.PLAIN
    if is_dictation(text):
        return Ending.DICTATION
    if unfinished(text):
        return Ending.OPEN
    if is_question(text):
        return Ending.QUESTION
    return Ending.REQUEST if is_request(text) else Ending.PLAIN


def _asks_for_more(text: str, language: str | None) -> bool:
    """In a language of `text.languages`. One word alone may be an answer ("Si."), but for "um"."""
    found = words(text)
    hesitations, open_words = _endings(language)
    if any(found[-len(one) :] == one for one in hesitations):
        return True
    asked = text.rstrip().endswith(_MARKS)
    return not asked and any(
        len(one) < len(found) and found[-len(one) :] == one for one in open_words
    )


Endings = tuple[tuple[str, ...], ...]


@lru_cache
def _endings(language: str | None) -> tuple[Endings, Endings]:
    known = words_of(language)
    return tuple(map(words, known.hesitations)), tuple(map(words, known.open_words))


def goes_on(text: str, language: str | None = "en") -> bool:
    """Are the words like a part of something longer: "And so, my fellow Americans", "When she
    heard that,"?
    """
    return text.rstrip().endswith(",") or (language == "en" and words(text)[:1] in _BEGINNINGS)


_BEGINNINGS = tuple((word,) for word in ("and", "but", "so", "then"))


def unfinished(text: str, language: str | None = "en") -> bool:
    """Do the words ask for more: "What is the", "How old is", "um", "I went to …"?

    In English by its grammar, in the languages of `text.languages` by their last word, in others by
    trailing dots and dashes.

    A full stop or question mark is ignored, for recognizers put one there anyway. Errs towards
    False: a speaker who is done waits at most for the longer silence, and people do not like to
    wait.
    """
    if _TRAILING.search(text):
        return True
    if language != "en":
        return _asks_for_more(text, language)
    written = _WRITTEN.findall(text.replace("’", "'"))
    if not written:
        return False
    *before, last = [word.lower() for word in written]
    previous = before[-1] if before else ""
    if last in phrases.FILLERS or last in phrases.CONTRACTIONS:
        return True
    if last in phrases.AUXILIARIES:
        return not _answered(before, previous, last)
    # "Can you", "How do you", but not a tag: "..., did you?"
    if previous in phrases.ASKING and last in phrases.SUBJECTS:
        return len(before) == 1 or before[0] in phrases.WH_WORDS
    if last in phrases.PREPOSITIONS:
        return not _stranded(before, previous, last)
    # "Well, I", but "so am I", "you and I", "better than I"
    if last in ("i", "we", "they", "he", "she"):
        return previous not in phrases.AUXILIARIES | {"and", "than", "as", "or", "not"}
    if last == "a":
        return written[-1] == "a" or not before  # "vitamin A"
    if last == "so":
        return not before or previous in phrases.CONJUNCTIONS
    if last in ("while", "since"):
        return previous not in ("a", "ever")
    return last in phrases.OPEN_WORDS


def _answered(before: Sequence[str], previous: str, last: str) -> bool:
    """Is the auxiliary at the end complete: "I can", "what do you have", "where the station is"?"""
    if last == "am":
        return previous not in phrases.WH_WORDS
    if previous in ("this", "that", "there", "these", "those"):
        return len(before) > 1
    if previous in phrases.SUBJECTS:
        return True
    if last in ("do", "does", "did", "have", "has", "had", "be") and any(
        word in phrases.AUXILIARIES for word in before
    ):
        return True
    asked = next((i for i, word in enumerate(before) if word in phrases.WH_WORDS), len(before))
    return any(word in phrases.DETERMINERS for word in before[asked + 1 : -1])


def _stranded(before: Sequence[str], previous: str, last: str) -> bool:
    """Does the preposition at the end stand alone rightly: "Where are you from?", "turn it on"?"""
    if last in ("in", "on") and (
        previous in phrases.PARTICLE_VERBS or (before and before[0] in ("turn", "switch"))
    ):
        return True
    if not any(word in phrases.WH_WORDS for word in before[:3]):
        return False
    if previous.endswith("ing") and previous != "going":
        # "What are you looking for", but "What is the meaning of"
        return before[-2] in phrases.SUBJECTS
    return last != "to" and previous in phrases.DETERMINERS


# --- questions ----------------------------------------------------------------------------------


def is_question(text: str) -> bool:
    """Is the last sentence a question that is complete, by its word order or (where that tells
    nothing) by its mark?

    "What is the best?" is begun and not complete, whatever its mark. A false yes costs an
    interruption and a false no a moment, so it says no where it is unsure.
    """
    sentence = _SENTENCE_END.split(text.strip())[-1]
    asked = _asked(question_words(sentence))
    if asked is not None:
        return asked
    tag = phrases.TAG.search(sentence.lower().replace("’", "'"))
    return bool(tag) or (sentence.endswith("?") and len(words(sentence)) >= 3)


def is_request(text: str) -> bool:
    """Is the last sentence something to be done, as one says it to an assistant: "Turn on the
    lamp", "Please tell me a joke"?
    """
    found = question_words(_SENTENCE_END.split(text.strip())[-1])
    if found[:1] in (["can"], ["could"], ["would"], ["will"]) and found[1:2] == ["you"]:
        found = found[2:]
    return (
        len(found) >= REQUEST_WORDS
        and found[0] in phrases.REQUESTS
        and found[1] not in phrases.FINITE
        and is_whole(found[1:])
    )


def question_words(sentence: str) -> list[str]:
    """Its words, "what's" as two, from where the question begins: greetings are left out, and so
    is all before "…, what is it".
    """
    plain = _CONTRACTED.sub(r"\1 is", sentence.lower().replace("’", "'"))
    found: list[str] = _WRITTEN.findall(plain)
    while len(found) > 1 and found[0] in phrases.LEAD_INS:
        found = found[1:]
    for i in range(1, len(found) - 2):
        direct = (
            found[i] in phrases.ADVERBIAL_WH
            and found[i + 1] in phrases.AUXILIARIES
            and found[i + 2] in phrases.ASKED_SUBJECTS
        )
        if direct and found[i - 1] not in phrases.PREPOSITIONS and found[0] not in phrases.WH_WORDS:
            return found[i:]
    return found


def _asked(found: Sequence[str]) -> bool | None:
    """True: a finished question. False: one is begun. None: the order is not that of a question."""
    if not found:
        return None
    first, rest = found[0], found[1:]
    if first in ("do", "have") and rest[:1] and rest[0] in phrases.OBJECTS:
        return None  # "do it again", "have a nice day"
    if (
        first in phrases.AUXILIARIES
        and rest
        and rest[0] not in phrases.AUXILIARIES | phrases.NO_SUBJECTS
    ):
        return _inverted(first, rest, asks="")
    if first not in phrases.WH_WORDS:
        return None
    if rest[:1] in (["about"], ["come"]):
        return len(rest) > 1 and is_whole(rest)
    at = next((i for i, word in enumerate(rest[:5]) if word in phrases.AUXILIARIES), None)
    if at is None:
        return _without_auxiliary(first, rest)
    if any(word in phrases.SUBJECTS or word in ("the", "a", "an", "that") for word in rest[:at]):
        return None  # "what I want is", "when he was"
    if rest[at + 1 : at + 2] and rest[at + 1] in phrases.WH_WORDS:
        return None  # "which is why I asked"
    if at > 0 and first not in ("how", "what", "which", "whose"):
        return None
    return _inverted(rest[at], rest[at + 1 :], asks=first if at == 0 else f"{first} {rest[0]}")


def _without_auxiliary(first: str, rest: Sequence[str]) -> bool | None:
    """ "Who wrote Romeo and Juliet", "what happened"; but "when churchyards yawn" and "what kind
    of music" are none.
    """
    if first == "what" and rest[:1] and rest[0] in phrases.WHAT_VERBS:
        return rest[0].startswith("happen") or (len(rest) > 1 and is_whole(rest))
    if first == "who" and rest and rest[0] not in phrases.SUBJECTS | phrases.DETERMINERS:
        return len(rest) > 1 and is_whole(rest)
    if first in ("how", "what", "which"):
        return False
    return None


def _inverted(auxiliary: str, rest: Sequence[str], asks: str) -> bool:
    """Is what follows an auxiliary a subject and all that it needs?

    `asks` is the question word before, with its adjective.
    """
    subject = 2 if rest[:1] and rest[0] in phrases.POSSESSIVES | phrases.ARTICLES else 1
    if len(rest) < subject or not is_whole(rest):
        return False
    last, question = rest[-1], asks.partition(" ")[0]
    if auxiliary.removesuffix("n't") in ("is", "are", "was", "were") and question not in (
        "",
        "why",
    ):
        return last not in phrases.RELATIONAL or rest[0] in phrases.POSSESSIVES or asks != question
    if len(rest) == subject:
        return False
    return last not in phrases.TRANSITIVE or (
        question in ("what", "which", "who", "whom") and last not in phrases.TELLING
    )


def is_whole(rest: Sequence[str]) -> bool:
    """Can the last word end a phrase? An adjective cannot, right after an article."""
    last, previous = rest[-1], rest[-2] if len(rest) > 1 else ""
    if (
        last in phrases.CONJUNCTIONS
        or previous in phrases.CONJUNCTIONS
        and last in phrases.SUBJECTS
    ):
        return False
    noun_is_due = previous in phrases.ARTICLES | phrases.POSSESSIVES | {"this", "that"}
    if last in phrases.MODIFIERS:
        return last in phrases.PREDICATES and not noun_is_due
    adjective = _ADJECTIVE.search(last) and last not in phrases.NOUNS_IN_EST
    return not (noun_is_due and adjective)
