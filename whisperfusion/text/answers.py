"""Answers: do a few words say all that the assistant has just asked for?

"Yes." after "Shall I go on?" and "Chicago" after "Where do you live?" are complete, although short
sounds tell little about the end of a turn. What is dictated (a number, an address, a spelled name)
is not, nor what an open question asks for ("Why?", "What do you think?"). A false yes costs an
interruption and a false no a moment, so it says no where it is unsure. English; in the other
languages of the word lists, yes and no after a question without a question word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum

from whisperfusion.text import phrases
from whisperfusion.text.backchannel import is_backchannel
from whisperfusion.text.end_of_turn import Ending, ending, goes_on, is_whole, question_words
from whisperfusion.text.segmentation import words

MOST_WORDS = 9  # "no no thank you i dont think so"
PLAIN_WORDS = 4  # of a thing that is named: "in San Francisco, California"
LONGEST_QUESTION = 300  # characters
_MARKS = "?？؟"
_ENDS = re.compile(rf"[.!?]\s+|[{_MARKS}]")
_CLAUSES = re.compile(r"[,;:–—]\s")


class Question(Enum):
    """What it asks for."""

    YES_OR_NO = "yes or no"
    CHOICE = "one of the things that it names"
    DETAIL = "a thing, person, place or time"
    AMOUNT = "a number that is said at once: of years, of people"


def is_answer(text: str, asked: str, language: str | None = "en") -> bool:
    """Is `text` a complete answer to the question at the end of `asked`, the assistant's words?"""
    sentence, said = last_question(asked), words(text)
    if not (sentence and said) or len(said) > MOST_WORDS or goes_on(text, language):
        return False
    if language != "en":
        return _yes_or_no_elsewhere(text, sentence, language)
    kind = question(sentence)
    line = " ".join(_without_lead_ins(said))
    # as a request it were begun
    asks_for_more = ending(text) is not Ending.PLAIN and line != "please do"
    if kind is None or asks_for_more:
        return False
    if phrases.NO_ANSWER.fullmatch(line):
        return True
    if kind is Question.YES_OR_NO:
        return not _wants_more(sentence) and phrases.YES_ANSWER.fullmatch(line) is not None
    if kind is Question.CHOICE and not any(word in _named(sentence) for word in line.split()):
        return False
    return _is_plain(line.split(), kind)


def last_question(asked: str) -> str:
    """The question that `asked` ends with, without its mark; empty if it does not end with one."""
    end = len(asked)
    while end and not (asked[end - 1].isalnum() or asked[end - 1] in _MARKS):
        end -= 1
    question = asked[max(0, end - LONGEST_QUESTION) : end]
    if not question.endswith(tuple(_MARKS)):
        return ""
    return _ENDS.split(question.rstrip(_MARKS))[-1]


def question(sentence: str) -> Question | None:
    """What an English question asks for; None: it is an open one, or asks for a dictation."""
    if words(sentence)[-2:] == ("or", "not"):
        return Question.YES_OR_NO
    for clause in reversed(_CLAUSES.split(sentence)):
        found = question_words(clause)
        if found[:1] and found[0] in phrases.PREPOSITIONS:
            found = found[1:]
        wanted = phrases.ASKS_INDIRECTLY.search(" ".join(found))
        if wanted:
            return _detail(question_words(wanted[1]))
        if found[:1] and found[0] in phrases.WH_WORDS:
            return Question.CHOICE if _alternatives(sentence) else _detail(found)
        if found[:1] and found[0] in phrases.AUXILIARIES | {"may", "shall"}:
            return Question.CHOICE if _alternatives(sentence) else Question.YES_OR_NO
    found = question_words(sentence)
    if found[:1] and found[0] in phrases.POSSESSIVES:
        return _detail(found)
    # "You live in Rome?", "Ready?"
    return None if any(word in phrases.WH_WORDS for word in found) else Question.YES_OR_NO


def _wants_more(sentence: str) -> bool:
    """Is "yes" only the beginning of what is asked for?"""
    found = words(sentence)
    told = phrases.ASKS_TO_BE_TOLD.search(" ".join(found))
    return told is not None or any(word in phrases.ANYTHING for word in found)


def _alternatives(sentence: str) -> bool:
    return "or" in words(sentence)


def _detail(found: Sequence[str]) -> Question | None:
    """What is asked for by question words, or by "your name" in "May I have your name?"."""
    if not found or any(word in phrases.DICTATED for word in found):
        return None
    first, second = found[0], found[1] if len(found) > 1 else ""
    if first == "how":
        if second in phrases.AMOUNTS:
            return Question.AMOUNT
        return Question.YES_OR_NO if second == "about" else None
    if first == "what":
        if second == "time":
            return Question.AMOUNT
        # "what city …", and "what is your favorite color", but not "what would you like to know"
        named = second not in phrases.AUXILIARIES | {"about", "else", "if", ""}
        noun = second in ("is", "are", "was") and found[2:3] and found[2] in _OWN
        closed = (named or noun) and not any(word in phrases.OPEN_MATTERS for word in found)
        return Question.DETAIL if closed else None
    if first in ("where", "when", "who", "whom", "whose", "which") or first in phrases.POSSESSIVES:
        return Question.DETAIL
    return None


_OWN = phrases.POSSESSIVES | {"the"}


def _is_plain(said: Sequence[str], kind: Question) -> bool:
    """Words that name something and do not begin a sentence: "Chicago", "tomorrow morning"."""
    last = said[-1]
    one = last == "one" and len(said) > 1  # "the red one"
    counted = any(word in phrases.DIGITS or word.isdigit() for word in said[: -1 if one else None])
    begun = last in phrases.MODIFIERS | phrases.ANSWER_BEGINNINGS and last not in _ORDINALS
    return (
        len(said) <= PLAIN_WORDS
        and not any(word in phrases.SUBJECTS | phrases.AUXILIARIES for word in said[:-1])
        and said[0] not in phrases.WH_WORDS
        and (kind is Question.AMOUNT or not counted)
        and len(last) > 1
        and not begun
        and (last in _ORDINALS or is_whole(said))
        and not phrases.YES_ANSWER.fullmatch(" ".join(said))
    )


_ORDINALS = frozenset(("first", "second", "third", "last", "other", "same"))


def _named(sentence: str) -> frozenset[str]:
    """What may be chosen: the words of the question that mean something, "the first"."""
    plain = phrases.DETERMINERS | phrases.PREPOSITIONS | phrases.AUXILIARIES | phrases.WH_WORDS
    return frozenset(words(sentence)) - plain - {"or", "like"} | _ORDINALS | phrases.CHOSEN


def _without_lead_ins(said: Sequence[str]) -> list[str]:
    found = list(said)
    while len(found) > 1 and found[0] in phrases.FILLERS | {"well", "oh", "hmm"}:
        found = found[1:]
    return found


def _yes_or_no_elsewhere(text: str, sentence: str, language: str | None) -> bool:
    """In another language: no question word asks for something else, as far as is known."""
    if any(word in phrases.WH_WORDS_ELSEWHERE for word in words(sentence)):
        return False
    return is_backchannel(text, language) or all(
        word in phrases.NO_ELSEWHERE or is_backchannel(word, language) for word in words(text)
    )
