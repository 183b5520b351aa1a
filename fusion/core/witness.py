"""What the user's words say about the turn: a mere "mm-hmm"? our own echo? is more to come?

The end-of-turn model listens to how something was said; the words are a second witness of it. `ending` tells
what kind of end they make: words that ask for more wait longer, so does a number or a name that is being
dictated, and a question that is finished waits least. All of it is word order and small lists (`phrases`),
English only; recognizers put "." after questions and "?" after fragments, so marks count less than words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from enum import Enum

from fusion.core import phrases
from fusion.core.text import words

# Share of letters: echoes that Whisper base misheard have 0.53 to 1, people who change the subject 0.3 to 0.54.
# Long texts agree by chance, and have whole words to be known by.
LIKELY, LEAST_LETTERS, MOST_WORDS, LEAST_CUT = 0.6, 8, 6, 4
REQUEST_WORDS = 3  # "turn on", "play the" and "tell me" are begun

# --- during a reply: is it an interruption? ---------------------------------------------------------------


def is_backchannel(text: str) -> bool:
    """At most three words, all of them mere signs of listening ("mm-hmm", "yeah", "I see"). Silence is none."""
    found = [word for word in (_undoubled("".join(words(token))) for token in text.split()) if word]
    line = " ".join(found)
    for phrase in sorted((known for known in _BACKCHANNELS if " " in known), key=len, reverse=True):
        line = re.sub(rf"\b{phrase}\b", "", line)  # "yeah, I see"
    return 0 < len(found) <= 3 and all(word in _BACKCHANNELS for word in line.split())


def _undoubled(text: str) -> str:
    return re.sub(r"(.)\1+", r"\1", text)  # "mmmm" is "mm"


_BACKCHANNELS = frozenset(map(_undoubled, phrases.BACKCHANNELS))


def is_echo(text: str, spoken: str, letters: float | None = None) -> bool:
    """Are the words heard our own, of `spoken`: at least two thirds of them, in order and close together?

    `letters`: where an echo is likely, this share of the letters will do.
    """
    heard, said = words(text), words(spoken)
    if not heard or not said:
        return False
    if len(heard) <= 2 and any(word in phrases.COMMANDS for word in heard):
        return len(heard) == 2 and said[:2] == heard  # "hello there" may be ours, "stop" never is
    if letters is not None and len(heard) <= MOST_WORDS and _letters_alike(heard, said) >= letters:
        return True
    alike = [[_alike(x, y) for x in heard] for y in said]
    for row, word in zip(alike, said, strict=True):
        row[-1] = row[-1] or (len(heard) > 1 and word.startswith(heard[-1]))  # the last one may be cut: "the cap" of "the capital"
        row[0] = row[0] or (len(heard[0]) >= LEAST_CUT and word.endswith(heard[0]))  # so may the first: "rightly" of "brightly"
    width, enough = len(heard) + max(1, len(heard) // 3), -(-len(heard) * 2 // 3)
    spans = (alike[i : i + width] for i in range(max(1, len(said) - len(heard) + 1)))
    return any(sum(map(any, span)) >= enough and _in_order(span) >= enough for span in spans)


def _letters_alike(heard: Sequence[str], said: Sequence[str]) -> float:
    """Share of letters that agree with the most similar stretch of what was said; 0 for too few to tell. As fuzzywuzzy's partial ratio."""
    few, many = "".join(heard), "".join(said)
    if len(few) < LEAST_LETTERS:
        return 0.0
    blocks = SequenceMatcher(None, few, many, autojunk=False).get_matching_blocks()
    starts = {max(0, block.b - block.a) for block in blocks}
    return max(SequenceMatcher(None, few, many[start : start + len(few)], autojunk=False).ratio() for start in starts)


def _in_order(alike: Sequence[Sequence[bool]]) -> int:
    """Length of the longest common subsequence of two rows of words, from which word equals which."""
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


# --- at a pause: is more to come? ---------------------------------------------------------------------------


class Ending(Enum):
    """What the words so far say about the end of the turn."""

    OPEN = "open"  # they ask for more: "What is the"
    SPELLING = "spelling"  # something is being dictated: "my number is five five five"
    QUESTION = "question"  # a question that is complete
    REQUEST = "request"  # something to be done: "Turn on the lamp"
    PLAIN = "plain"  # nothing


def ending(text: str, language: str = "en") -> Ending:
    """How the words end. Other languages than English: trailing dots or dashes, and question marks, are all there is to go by."""
    if language != "en":
        asked = text.rstrip().endswith(("?", "？", "؟")) and len(words(text)) >= 3
        return Ending.OPEN if unfinished(text, language) else Ending.QUESTION if asked else Ending.PLAIN
    if is_spelling(text):
        return Ending.SPELLING
    if unfinished(text):
        return Ending.OPEN
    return Ending.QUESTION if is_question(text) else Ending.REQUEST if is_request(text) else Ending.PLAIN


def goes_on(text: str, language: str = "en") -> bool:
    """Are the words like a part of something longer: "And so, my fellow Americans", "When she heard that,"?"""
    return text.rstrip().endswith(",") or (language == "en" and words(text)[:1] in _BEGINNINGS)


_BEGINNINGS = tuple((word,) for word in ("and", "but", "so", "then"))


def unfinished(text: str, language: str = "en") -> bool:
    """Do the words ask for more: "What is the", "How old is", "um", "I went to …"? English, but for trailing dots and dashes.

    A full stop or question mark is ignored, for recognizers put one there anyway. Errs towards False: a
    speaker who is done waits at most for the longer silence, yet nobody likes to be made to wait.
    """
    if re.search(r"(?:\.\.\.|…|[-–—])\s*$", text):
        return True
    if language != "en":
        return False
    written = re.findall(r"\w+(?:'\w+)*", text.replace("’", "'"))
    if not written:
        return False
    *before, last = [word.lower() for word in written]
    previous = before[-1] if before else ""
    if last in phrases.FILLERS or last in phrases.CONTRACTIONS:
        return True
    if last in phrases.AUXILIARIES:
        return not _answered(before, previous, last)
    if previous in phrases.ASKING and last in phrases.SUBJECTS:  # "Can you", "How do you", but not a tag: "..., did you?"
        return len(before) == 1 or before[0] in phrases.WH_WORDS
    if last in phrases.PREPOSITIONS:
        return not _stranded(before, previous, last)
    if last in ("i", "we", "they", "he", "she"):  # "Well, I", but "so am I", "you and I", "better than I"
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
    if last in ("do", "does", "did", "have", "has", "had", "be") and any(word in phrases.AUXILIARIES for word in before):
        return True
    asked = next((i for i, word in enumerate(before) if word in phrases.WH_WORDS), len(before))
    return any(word in phrases.DETERMINERS for word in before[asked + 1: -1])


def _stranded(before: Sequence[str], previous: str, last: str) -> bool:
    """Does the preposition at the end stand alone rightly: "Where are you from?", "turn it on"?"""
    if last in ("in", "on") and (previous in phrases.PARTICLE_VERBS or (before and before[0] in ("turn", "switch"))):
        return True
    if not any(word in phrases.WH_WORDS for word in before[:3]):
        return False
    if previous.endswith("ing") and previous != "going":
        return before[-2] in phrases.SUBJECTS  # "What are you looking for", but "What is the meaning of"
    return last != "to" and previous in phrases.DETERMINERS


# --- dictation ------------------------------------------------------------------------------------------------


def is_spelling(text: str) -> bool:
    """Is a number, code, address or name being dictated, and may more of it follow?

    One number that ends a sentence is none ("ten minutes", "two plus two", "in 1969"), nor is what has as many
    digits as its kind needs, a name that was said and then spelled, or a street or e-mail address with its end.
    """
    said = _dictated(text)
    line = " ".join(said)
    cue = re.search(phrases.DICTATION_CUE, line)
    if not said or re.search(phrases.DATE_OR_TIME, line):
        return False
    if re.search(phrases.DICTATION_OPEN, line):
        return True
    tail = _tail(said)
    if said[-1] in phrases.DICTATION_SIGNS:
        return bool(tail or cue) or said[-1] in ("dot", "underscore") and said[-2:-1] not in (["a"], ["the"])
    if said[-1] == "at" or re.search(r"@[\w-]*$", line):
        return bool(re.search(r"e ?mail|\bdot\b|\w@", line)) and not re.match(r"(?:what|where|who)\b", line)
    if re.search(phrases.EMAIL_BEGUN, line) and not re.search(r"[\w-]\.[a-z]+$|\bdot [a-z]{2,}$", line):
        return True
    if not tail:
        return bool(re.search(phrases.STREET_BEGUN, line)) and said[-1] not in phrases.STREETS
    return _symbols_go_on(said[: -len(tail)], tail, cue)


def _dictated(text: str) -> list[str]:
    """Words in lower case, but groups of digits and of single letters fall apart at their dashes: "J-O-H", "555-1234"."""
    found: list[str] = []
    for token in text.lower().replace("’", "'").split():
        plain = token.strip(".,;:!?\"'()")
        parts = plain.split("-")
        apart = len(parts) > 1 and all(part.isdigit() or len(part) == 1 for part in parts)
        found += parts if apart else [plain] if plain else []
    return found


def _tail(said: Sequence[str]) -> list[str]:
    """The symbols at the end: single letters, digits, figures, words such as "dash", letters by their names ("alpha bravo")."""
    tail: list[str] = []
    for word in reversed(said):
        if not (word in phrases.DIGITS or word in phrases.DICTATION_SIGNS or word in phrases.NATO or _figure(word) or len(word) == 1):
            break
        tail.insert(0, word)
    while tail and tail[0] in ("a", "i", "to", "for", "at", "point", "o"):
        tail.pop(0)  # words of the sentence before it
    return tail


def _figure(word: str) -> bool:
    return bool(re.fullmatch(r"\+?\d+[a-z]?|[a-z]\d+", word))


def _symbols_go_on(before: Sequence[str], tail: Sequence[str], cue: re.Match[str] | None) -> bool:
    """May more follow the symbols in `tail`, which the words `before` lead to?"""
    letters = "".join(word for word in tail if len(word) == 1 and word.isalpha())
    if len(letters) == len(tail) and letters in before:
        return False  # "Smith, S M I T H"
    digits = sum(len(re.sub(r"\D", "", word)) if _figure(word) else 1 for word in tail if word in phrases.DIGITS or _figure(word))
    if digits == sum(1 if not _figure(word) else len(word) for word in tail):
        wanted = next((length for kind, length in phrases.NUMBER_LENGTHS.items() if kind in before), 10)
        if digits >= wanted:
            return False
    if cue is not None:
        return True
    symbols = [word for word in tail if word not in phrases.NATO]
    if len(symbols) < len(tail):
        return len(tail) > 1
    if before and before[0] in phrases.WH_WORDS and not any(_figure(word) or word in phrases.DIGITS for word in tail):
        return False  # "what is the U S"
    return len(tail) > 1


# --- questions ------------------------------------------------------------------------------------------------


def is_question(text: str) -> bool:
    """Is the last sentence a question that is complete, by its word order or (where that tells nothing) by its mark?

    "What is the best?" is begun and not complete, whatever its mark. A false yes costs an interruption and a
    false no a moment, so doubt is no.
    """
    sentence = re.split(r"[.!?]\s+", text.strip())[-1]
    asked = _asked(_question_words(sentence))
    if asked is not None:
        return asked
    tag = re.search(phrases.TAG, sentence.lower().replace("’", "'"))
    return bool(tag) or (sentence.endswith("?") and len(words(sentence)) >= 3)


def is_request(text: str) -> bool:
    """Is the last sentence something to be done, as one says it to an assistant: "Turn on the lamp", "Please tell me a joke"?"""
    found = _question_words(re.split(r"[.!?]\s+", text.strip())[-1])
    if found[:1] in (["can"], ["could"], ["would"], ["will"]) and found[1:2] == ["you"]:
        found = found[2:]
    return len(found) >= REQUEST_WORDS and found[0] in phrases.REQUESTS and found[1] not in phrases.FINITE and _is_whole(found[1:])


def _question_words(sentence: str) -> list[str]:
    """Its words, "what's" as two, from where the question begins: greetings are left out, and so is all before "…, what is it"."""
    plain = re.sub(r"\b(what|where|who|how|when|why)'(?:s|re)\b", r"\1 is", sentence.lower().replace("’", "'"))
    found: list[str] = re.findall(r"\w+(?:'\w+)*", plain)
    while len(found) > 1 and found[0] in phrases.LEAD_INS:
        found = found[1:]
    for i in range(1, len(found) - 2):
        direct = found[i] in phrases.ADVERBIAL_WH and found[i + 1] in phrases.AUXILIARIES and found[i + 2] in phrases.ASKED_SUBJECTS
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
    if first in phrases.AUXILIARIES and rest and rest[0] not in phrases.AUXILIARIES | phrases.NO_SUBJECTS:
        return _inverted(first, rest, asks="")
    if first not in phrases.WH_WORDS:
        return None
    if rest[:1] in (["about"], ["come"]):
        return len(rest) > 1 and _is_whole(rest)
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
    """ "Who wrote Romeo and Juliet", "what happened"; but "when churchyards yawn" and "what kind of music" are none."""
    if first == "what" and rest[:1] and rest[0] in phrases.WHAT_VERBS:
        return rest[0].startswith("happen") or (len(rest) > 1 and _is_whole(rest))
    if first == "who" and rest and rest[0] not in phrases.SUBJECTS | phrases.DETERMINERS:
        return len(rest) > 1 and _is_whole(rest)
    if first in ("how", "what", "which"):
        return False
    return None


def _inverted(auxiliary: str, rest: Sequence[str], asks: str) -> bool:
    """Is what follows an auxiliary a subject and all that it needs? `asks` is the question word before, with its adjective."""
    subject = 2 if rest[:1] and rest[0] in phrases.POSSESSIVES | phrases.ARTICLES else 1
    if len(rest) < subject or not _is_whole(rest):
        return False
    last, question = rest[-1], asks.partition(" ")[0]
    if auxiliary.removesuffix("n't") in ("is", "are", "was", "were") and question not in ("", "why"):
        return last not in phrases.RELATIONAL or rest[0] in phrases.POSSESSIVES or asks != question
    if len(rest) == subject:
        return False
    return last not in phrases.TRANSITIVE or (question in ("what", "which", "who", "whom") and last not in phrases.TELLING)


def _is_whole(rest: Sequence[str]) -> bool:
    """Can the last word end a phrase? An adjective cannot, right after an article."""
    last, previous = rest[-1], rest[-2] if len(rest) > 1 else ""
    if last in phrases.CONJUNCTIONS or previous in phrases.CONJUNCTIONS and last in phrases.SUBJECTS:
        return False
    noun_is_due = previous in phrases.ARTICLES | phrases.POSSESSIVES | {"this", "that"}
    if last in phrases.MODIFIERS:
        return last in phrases.PREDICATES and not noun_is_due
    adjective = re.search(r"[a-z]{3}(?:ous|ful|ive|able|ible|less|est|ical)$", last) and last not in phrases.NOUNS_IN_EST
    return not (noun_is_due and adjective)
