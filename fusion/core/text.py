"""Text that grows and text that changes: what can be spoken already, what was surely said, what was heard.

A reply grows piece by piece; `Clauses` cuts it where a voice may pause. A hypothesis about the user's
words changes as a whole; `StablePrefix` keeps what two in a row agree on. The questions that turn-taking
asks about words (the same? a mere "mm-hmm"? our own echo? unfinished?) are plain functions. Words are
compared without case, punctuation and spacing; scripts without spaces count each character as a word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from fusion.core import phrases

FIRST_WORDS = 3  # a clause this long may open a reply: the person is waiting
FIRST_PATIENCE = 9  # words without a clause end, after which the first piece is cut at a natural place
LONG_WORDS = 25  # a later sentence that is longer is spoken clause by clause
MOST_WORDS, MOST_CHARACTERS = 50, 600  # then any space will do: no piece waits for ever
CHARACTERS_PER_S = 14.0  # of speech at normal pace, for a piece whose length is not yet known

_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # kana and Chinese characters
_WIDE_STOPS, _WIDE_COMMAS = "。！？｡．", "、，；："
_STOPS, _COMMAS = ".!?…؟।" + _WIDE_STOPS, ",;:،؛—–" + _WIDE_COMMAS
_CLOSERS = "\"'”’»›)]}」』》】）*_`~"
_TOUCHING = re.compile(rf"[—{_WIDE_STOPS}{_WIDE_COMMAS}][{re.escape(_CLOSERS)}]*$")  # ends that need no space after them
_TOKEN = re.compile(rf"\s*(?:[{_UNSPACED}][^\w\s]*|[^\s{_UNSPACED}]+)")
_INITIALS = re.compile(r"(?:[^\W\d_]\.)+$")


def _tokens(text: str) -> list[str]:
    """Words as written, each with the white space before it and the punctuation after it."""
    return _TOKEN.findall(text)


def words(text: str) -> tuple[str, ...]:
    """The words of `text` in comparable form: no case, no punctuation; "1,000" and "don't" are one word each."""
    plain = re.sub(r"(?<=\d),(?=\d{3})|['’ʼ]", "", unicodedata.normalize("NFKC", text).casefold())
    spaced = "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in plain)
    return tuple(re.sub(rf"([{_UNSPACED}])", r" \1 ", spaced).split())


def same_words(a: str, b: str) -> bool:
    """Do two hypotheses say the same? "ice cream" is "icecream", but "1 2" is not "12"."""
    return _run_together(a) == _run_together(b)


def _run_together(text: str) -> str:
    return re.sub(r"(?<!\d) | (?!\d)", "", " ".join(words(text)))


# --- a reply that grows -----------------------------------------------------------------------------------


class Clauses:
    """Cuts one growing reply into pieces to be spoken.

    The first piece comes early (a clause, when it has a few words); the others are sentences, or clauses
    of very long ones. The pieces, joined, are the text except for white space, and do not depend on how
    the text was divided when it arrived. A piece may lack words (a row of dashes); `speakable` is then "".
    """

    def __init__(self) -> None:
        self._text = ""  # not yet given out
        self._first = True

    def feed(self, piece: str) -> list[str]:
        """More text; what became complete. A possible end counts only once the next character is known."""
        ready: list[str] = []
        for character in piece:
            if not character.isspace() and self._text and (self._text[-1].isspace() or _TOUCHING.search(self._text[-4:])):
                cut = self._cut(character)
                if cut:
                    ready.append(self._text[:cut].strip())
                    self._text, self._first = self._text[cut:].lstrip(), False
            if self._text or not character.isspace():
                self._text += character
        return ready

    def flush(self) -> str:
        """The rest, when the reply has ended; "" if there is none."""
        rest, self._text = self._text.strip(), ""
        return rest

    def _cut(self, following: str) -> int:
        """Where the text so far is to be cut, knowing the next visible character; 0 = not yet."""
        end = _end(self._text, following)
        count = _weight(self._text)
        if len(self._text) > MOST_CHARACTERS or count >= MOST_WORDS:
            return len(self._text)
        if end == "sentence":
            return len(self._text) if count else 0
        if self._first:
            if end == "clause" and count >= FIRST_WORDS:
                return len(self._text)
            return _natural_break(self._text) if count >= FIRST_PATIENCE else 0
        return _last_clause(self._text, following) if count >= LONG_WORDS else 0


def _weight(text: str) -> float:
    """Length in words; two characters of a script without spaces are about one word."""
    found = words(text)
    unspaced = sum(1 for word in found if re.match(rf"[{_UNSPACED}]", word))
    return len(found) - unspaced / 2


def _end(text: str, following: str) -> str:
    """Does `text`, which ends at a possible boundary, end a "sentence", a "clause" or nothing ("")?"""
    before = text.rstrip()
    touching = before == text
    core = before.rstrip(_CLOSERS)
    if "\n" in text[len(before):]:
        return "sentence"
    if not core or following in _STOPS + _COMMAS or following in (_CLOSERS if touching else ")]}”»›」』》】）"):
        return ""
    if core[-1] in _STOPS:
        return "sentence" if _stops(core, following) else ""
    if core[-1] in _COMMAS:
        dated = following.isdigit() and core[-2:-1].isdigit()
        aside = core.count("(") > core.count(")")
        return "" if dated or aside else "clause"
    return ""


def _stops(core: str, following: str) -> bool:
    """Is the full stop at the end of `core` the end of a sentence, when `following` comes after a space?"""
    if core[-1] in _WIDE_STOPS:
        return True
    if following.islower():
        return False
    if core[-1] != "." or core.endswith(".."):
        return True
    line = core.rpartition("\n")[2]
    last = line.split()[-1].lstrip("\"'“‘«([{*_`")
    if line.split() == [last] and last[:-1].isdigit():
        return False  # the number of a list item
    if last.lower() in ("a.m.", "p.m.", "etc."):
        return True
    if last.lower() in phrases.BEFORE_NUMBERS:
        return not following.isdigit()
    return last.lower() not in phrases.ABBREVIATIONS and not _INITIALS.match(last)


def _natural_break(text: str) -> int:
    """Before the last conjunction, else preposition, with enough words on its left and one on its right; 0 = none."""
    tokens = _tokens(text)
    for breaks in (phrases.CONJUNCTIONS, phrases.NATURAL_BREAKS):
        for i in range(len(tokens) - 2, FIRST_WORDS, -1):
            if tokens[i].strip().lower() in breaks:
                return len("".join(tokens[:i]))
    return 0


def _last_clause(text: str, following: str) -> int:
    """After the last clause of a long sentence that leaves no scrap behind it; 0 = none."""
    ends = [0]
    for match in re.finditer(r"\s+", text):
        after = text[match.end(): match.end() + 1] or following
        if _end(text[: match.end()], after) == "clause":
            ends.append(match.end())
    ends += [m.end() for m in re.finditer(rf"[—{_WIDE_COMMAS}](?=\S)", text)]
    if _TOUCHING.search(text) and _end(text, following) == "clause":
        ends.append(len(text))
    return max(end for end in ends if end == 0 or _weight(text[:end]) >= FIRST_WORDS)


_EMOJI = re.compile(
    "[\U0001f000-\U0001faff\u2190-\u21ff\u2300-\u23ff\u2460-\u24ff\u25a0-\u27bf\u2900-\u297f\u2b00-\u2bff\ufe0e\ufe0f\u200d\u20e3\U000e0000-\U000e007f]+"
)


def speakable(text: str) -> str:
    """`text` without what a voice must not read: markup, bullets, emoji. White space becomes single spaces."""
    text = re.sub(r"!?\[([^\]\n]*)\]\([^)\s]*\)", r"\1", text)
    text = re.sub(r"(?<=\d)\s*\*\s*(?=\d)", " times ", text)
    text = _EMOJI.sub(" ", re.sub(r"[*`~]+|</?[a-zA-Z][^<>\n]*>", "", text.replace("|", " ")))
    lines = [re.sub(r"^\s*(?:[#>•‣◦·+–—-]+(?:\s+|$))+|^\s*#+", "", line) for line in text.split("\n")]
    text = re.sub(r"(?<!\w)_+|_+(?!\w)", "", " ".join(lines)).replace("_", " ")
    return " ".join(text.split())


# --- a hypothesis that changes ----------------------------------------------------------------------------


class StablePrefix:
    """The words of changing hypotheses that can be relied on: what the last two agree on.

    LocalAgreement-2 of Macháček, Dabre and Bojar 2023, "Turning Whisper into Real-Time Transcription System".
    """

    def __init__(self) -> None:
        self._stable: list[str] = []
        self._previous: list[str] = []

    def update(self, text: str, final: bool = False) -> tuple[str, str]:
        """(stable, unstable). Stable only grows, except that the `final` text is taken as it is."""
        tokens = _tokens(text.strip())
        if final:
            self._stable = tokens
        else:
            agreed = len(self._stable)
            for before, now in zip(self._previous[agreed:], tokens[agreed:], strict=False):
                if words(before) != words(now):
                    break
                self._stable.append(now)
        self._previous = tokens
        return "".join(self._stable).strip(), "".join(tokens[len(self._stable):]).strip()


# --- what the user's words mean for the turn ----------------------------------------------------------------


def is_backchannel(text: str) -> bool:
    """At most three words, all of them mere signs of listening ("mm-hmm", "yeah", "I see"). Silence is none."""
    found = [word for word in (_undoubled("".join(words(token))) for token in text.split()) if word]
    return 0 < len(found) <= 3 and (" ".join(found) in _BACKCHANNELS or all(word in _BACKCHANNELS for word in found))


def _undoubled(text: str) -> str:
    return re.sub(r"(.)\1+", r"\1", text)  # "mmmm" is "mm"


_BACKCHANNELS = frozenset(map(_undoubled, phrases.BACKCHANNELS))


def is_echo(text: str, spoken: str) -> bool:
    """Are the words heard our own, of `spoken`: at least two thirds of them, in order and close together?"""
    heard, said = words(text), words(spoken)
    if not heard or not said or (len(heard) <= 2 and any(word in phrases.COMMANDS for word in heard)):
        return False
    alike = [[_alike(x, y) for x in heard] for y in said]
    width, enough = len(heard) + max(1, len(heard) // 3), -(-len(heard) * 2 // 3)
    spans = (alike[i : i + width] for i in range(max(1, len(said) - len(heard) + 1)))
    return any(sum(map(any, span)) >= enough and _in_order(span) >= enough for span in spans)


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


# --- what was heard -----------------------------------------------------------------------------------------


def heard_text(pieces: Sequence[tuple[str, float, float]]) -> str:
    """The words of a reply that were heard, from (text, heard_s, total_s) of each piece in order.

    Of a partly played piece, as many whole words as its played share covers by characters. `total_s` 0
    means that its length is not known yet: then a normal pace of speech is assumed.
    """
    heard = ""
    for part in filter(None, (_share(*piece) for piece in pieces)):
        wide = heard and re.match(rf"[{_UNSPACED}{_WIDE_STOPS}{_WIDE_COMMAS}]", heard[-1])
        heard += part if not heard or wide else f" {part}"
    return heard


def _share(text: str, heard_s: float, total_s: float) -> str:
    text = text.strip()
    if 0 < total_s <= heard_s:
        return text
    covered = (len(text) * heard_s / total_s if total_s > 0 else heard_s * CHARACTERS_PER_S) + 1e-6
    return "".join(_whole_words(text, covered)).strip()


def _whole_words(text: str, covered: float) -> Iterator[str]:
    length = 0
    for token in _tokens(text):
        length += len(token)
        if length > covered:
            return
        yield token
