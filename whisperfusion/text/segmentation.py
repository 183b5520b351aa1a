"""Text that grows and text that changes: what can be spoken already, which words are final, and
which of a reply were played.

A reply grows piece by piece; `Clauses` cuts it where a voice may pause. A hypothesis about the
user's words changes as a whole; `StablePrefix` keeps what two in a row agree on. Words are compared
without case, punctuation and spacing; scripts without spaces count each character as a word. What
the user's words mean for the turn is in `end_of_turn`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from whisperfusion.text import phrases

CLAUSE_WORDS = 3  # a clause this long may be spoken alone
PHRASE_WORDS = 4  # so may so much before a phrase, when the person is waiting
SUBJECT_WORDS = 5  # and so long a subject before its verb
# words without any such place, after which the first piece is cut at the best there is
FIRST_PATIENCE = 8
LONG_WORDS = 25  # a later sentence that is longer is spoken clause by clause
# written, even by a slow model, while one is spoken: a later piece should be there before silence
WORDS_MEANWHILE = 4
MOST_WORDS, MOST_CHARACTERS = 50, 600  # then any space will do: no piece waits for ever
CHARACTERS_PER_S = 14.0  # of speech at normal pace, for a piece whose length is not yet known

_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # kana and Chinese characters
_WIDE_STOPS, _WIDE_COMMAS = "。！？｡．", "、，；："
_STOPS, _COMMAS = ".!?…؟।" + _WIDE_STOPS, ",;:،؛—–" + _WIDE_COMMAS
_CLOSERS = "\"'”’»›)]}」』》】）*_`~"
# ends that need no space after them
_TOUCHING = re.compile(rf"[—{_WIDE_STOPS}{_WIDE_COMMAS}][{re.escape(_CLOSERS)}]*$")
# never begun in the middle of a space: that were quadratic
_TOKEN = re.compile(rf"(?<!\s)\s*(?:[{_UNSPACED}][^\w\s]*|[^\s{_UNSPACED}]+)")
_ORDINAL = re.compile(r"^(?:[0-9]{1,3}|[IVXLCivxlc]{2,8})\.$")
_INITIALS = re.compile(r"^(?:[^\W\d_]\.)+$")
_PLAIN_END = re.compile(r"^[^\W\d_]{3,}[.!?]")
_INSIDE_WORDS = re.compile(r"(?<=\d),(?=\d{3})|['’ʼ]")
_UNSPACED_ONE = re.compile(rf"([{_UNSPACED}])")
_WIDE = re.compile(rf"[{_UNSPACED}{_WIDE_STOPS}{_WIDE_COMMAS}]")
_SPACE_BESIDE_WORDS = re.compile(r"(?<!\d) | (?!\d)")


def _tokens(text: str) -> list[str]:
    """Words as written, each with the white space before it and the punctuation after it."""
    return _TOKEN.findall(text)


def words(text: str) -> tuple[str, ...]:
    """The words of `text` in comparable form: no case, no punctuation; "1,000" and "don't" are
    one word each.
    """
    plain = _INSIDE_WORDS.sub("", unicodedata.normalize("NFKC", text).casefold())
    spaced = "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in plain)
    return tuple(_UNSPACED_ONE.sub(r" \1 ", spaced).split())


def same_words(a: str, b: str) -> bool:
    """Do two hypotheses say the same? "ice cream" is "icecream", but "1 2" is not "12"."""
    return _run_together(a) == _run_together(b)


def _run_together(text: str) -> str:
    return _SPACE_BESIDE_WORDS.sub("", " ".join(words(text)))


# --- a reply that grows -------------------------------------------------------------------------


class Clauses:
    """Cuts one growing reply into pieces to be spoken.

    The first piece comes early: a mere "Yes,", a clause, or what stands before a phrase where a
    speaker could breathe. What follows comes as soon as the voice might run dry; then it is
    sentences, or clauses of very long ones. The pieces, joined, are the text except for white
    space, and do not depend on how the text was divided when it arrived, except that a sure end of
    the first sentence is not waited for when the text that arrived ends there. A piece may lack
    words (a row of dashes); then nothing of it is spoken.
    """

    def __init__(self) -> None:
        self._text = ""  # not yet given out
        # words of its first characters, up to the last place where it might be cut
        self._count, self._counted = 0.0, 0
        # where clauses ended in it, and the words up to there
        self._clauses: list[tuple[int, float]] = []
        self._given = 0.0  # words given out

    def feed(self, piece: str) -> list[str]:
        """More text; what became complete.

        A possible end counts once the next character is known, or if there is no doubt.
        """
        ready: list[str] = []
        for character in piece:
            if (
                not character.isspace()
                and self._text
                and (self._text[-1].isspace() or _TOUCHING.search(self._text[-4:]))
            ):
                cut = self._cut(character)
                if cut:
                    ready.append(self._emit(cut))
            if self._text or not character.isspace():
                self._text += character
        if not self._given and _surely_ends(self._text):
            ready.append(self._emit(len(self._text)))
        return ready

    def flush(self) -> str:
        """The rest, when the reply has ended; "" if there is none."""
        return self._emit(len(self._text))

    def _emit(self, cut: int) -> str:
        piece, rest = self._text[:cut].strip(), self._text[cut:].lstrip()
        gone = len(self._text) - len(rest)
        self._text, self._clauses = (
            rest,
            [(at - gone, weight) for at, weight in self._clauses if at > gone],
        )
        before = self._count
        self._counted = max(0, self._counted - gone)
        self._count = _weight(rest[: self._counted])
        self._clauses = [(at, weight - before + self._count) for at, weight in self._clauses]
        self._given += _weight(piece)
        return piece

    def _cut(self, following: str) -> int:
        """Where the text so far is to be cut, knowing the next visible character; 0 = not yet."""
        end = _end(self._text, following)
        count = self._words_so_far()
        if len(self._text) > MOST_CHARACTERS or count >= MOST_WORDS:
            return len(self._text)
        if end == "sentence":
            return len(self._text) if count else 0
        if end == "clause":
            self._clauses.append((len(self._text), count))
        if count >= LONG_WORDS:  # after the last clause that leaves no scrap behind it
            return max((at for at, weight in self._clauses if weight >= CLAUSE_WORDS), default=0)
        if count < self._given * WORDS_MEANWHILE:
            return 0
        if end == "clause" and (count >= CLAUSE_WORDS or words(self._text) in phrases.OPENERS):
            return len(self._text)
        if count < CLAUSE_WORDS:
            return 0
        return _before_phrase(self._text, following, count >= FIRST_PATIENCE)

    def _words_so_far(self) -> float:
        """The weight of the text, of which only what is new is counted: places where it might be
        cut divide words.
        """
        self._count += _weight(self._text[self._counted :])
        self._counted = len(self._text)
        return self._count


def _weight(text: str) -> float:
    """Length in words; two characters of a script without spaces are about one word."""
    found = words(text)
    unspaced = sum(1 for word in found if _UNSPACED_ONE.match(word))
    return len(found) - unspaced / 2


def _end(text: str, following: str) -> str:
    """Does `text`, which ends at a possible boundary, end a "sentence", a "clause" or nothing
    ("")?
    """
    before = text.rstrip()
    touching = before == text
    core = before.rstrip(_CLOSERS)
    if "\n" in text[len(before) :]:
        return "sentence"
    if (
        not core
        or following in _STOPS + _COMMAS
        or following in (_CLOSERS if touching else ")]}”»›」』》】）")
    ):
        return ""
    if core[-1] in _STOPS:
        return "sentence" if _stops(core, following) else ""
    if core[-1] in _COMMAS:
        dated = following.isdigit() and (
            core[-2:-1].isdigit() or core.split()[-1][:-1].lower() in phrases.MONTHS
        )
        aside = core.count("(") > core.count(")")
        # "in Paris, France"
        place = (
            core[-1] == ","
            and following.isupper()
            and core.split()[-1][0].isupper()
            and len(core.split()) > 1
        )
        return "" if dated or aside or place else "clause"
    return ""


def _stops(core: str, following: str) -> bool:
    """Is the full stop at the end of `core` the end of a sentence, when `following` comes after
    a space?
    """
    if core[-1] in _WIDE_STOPS:
        return not (core[-1] == "．" and core[-2:-1].isdigit() and following.isdigit())
    if following.islower():
        return False
    if core[-1] != "." or core.endswith(".."):
        return True
    line = core.rpartition("\n")[2]
    last = line.split()[-1].lstrip("\"'“‘«([{*_`")
    if line.split() == [last] and last[:-1].isdigit():
        return False  # the number of a list item
    if _ORDINAL.match(last) and _announces_ordinal(line.lower().split()[-4:-1]):
        return False
    if last.lower() in ("a.m.", "p.m.", "etc."):
        return True
    if last.lower() in phrases.BEFORE_NUMBERS or last.endswith("str."):  # Hauptstr. 5
        return not following.isdigit()
    return last.lower() not in phrases.ABBREVIATIONS and not _INITIALS.match(last)


def _announces_ordinal(before: Sequence[str]) -> bool:
    """Whether the words before "3." belong to a German ordinal or date: "am", "am 3."."""
    while before and _ORDINAL.match(before[-1]):
        before = before[:-1]
    return bool(before) and before[-1] in phrases.BEFORE_ORDINALS and before[-2:] != ["i", "am"]


def _surely_ends(text: str) -> bool:
    """Does `text` end a sentence, whatever comes next: "Sure!", or "." after a plain word?

    Not "Dr.", "3." or an open quotation.
    """
    nested = (
        any(text.count(a) > text.count(b) for a, b in ("()", "[]", "“”", "«»"))
        or text.count('"') % 2
        or text.count("**") % 2
    )
    if nested or text[-1:].isspace():
        return False
    *before, last = text.lower().split() or [""]
    plain = _PLAIN_END.fullmatch(
        last
    ) and last not in phrases.ABBREVIATIONS | phrases.BEFORE_NUMBERS | {"etc."}
    return bool(plain) and (bool(before) or words(text) in phrases.OPENERS)


def _before_phrase(text: str, following: str, patient: bool) -> int:
    """Where to cut so that the last word, with which a phrase begins, opens the next piece;
    `patient`: any word that does. 0 = nowhere.
    """
    tokens = _tokens(text)
    for i in range(len(tokens) - 1, CLAUSE_WORDS - 1, -1):
        clause = tokens[i].strip().lower() in phrases.CLAUSE_STARTS
        if i >= (CLAUSE_WORDS if clause or patient else PHRASE_WORDS) and _begins_phrase(
            tokens, i, following, patient
        ):
            return len("".join(tokens[:i]))
        if not patient:
            break
    return 0


def _begins_phrase(tokens: Sequence[str], i: int, following: str, patient: bool) -> bool:
    """Could a speaker breathe before word `i`?

    Not within a name or a number, nor after a word that belongs to what follows.
    """
    word, before = tokens[i].strip().lower(), tokens[i - 1].strip().rstrip(_CLOSERS) or "-"
    after = tokens[i + 1].strip()[0] if i + 1 < len(tokens) else following
    if (
        not before[-1].isalpha()
        or before.lower() in phrases.LEANING
        or before.lower().endswith("ly")
    ):
        return False
    if word in ("and", "or") and tokens[i - 2].strip().lower() in phrases.DEGREES:
        return False  # "a very old and small house"
    if word in phrases.LINKS:
        return not (before[0].isupper() and after.isupper()) and not (
            after.isdigit() and word in ("about", "over", "under")
        )
    if word in phrases.FINITE:  # the end of a long subject
        verbless = not any(
            other.strip().lower() in phrases.FINITE | phrases.CLAUSE_STARTS for other in tokens[:i]
        )
        return verbless and (patient or i >= SUBJECT_WORDS)
    return (
        word in phrases.CLAUSE_STARTS
        or word in phrases.PHRASE_STARTS
        or (patient and word in ("to", "that"))
    )


# --- a hypothesis that changes ------------------------------------------------------------------


class StablePrefix:
    """The words of changing hypotheses that can be relied on: what the last two agree on.

    LocalAgreement-2 of Macháček, Dabre and Bojar 2023, "Turning Whisper into Real-Time
    Transcription System".
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
        return "".join(self._stable).strip(), "".join(tokens[len(self._stable) :]).strip()


# --- played text --------------------------------------------------------------------------------


def played_text_of(pieces: Sequence[tuple[str, float, float]]) -> str:
    """The words of a reply that were played, from (text, played_s, total_s) of each piece in order.

    Of a partly played piece, as many whole words as its played share covers by characters.
    `total_s` 0 means that its length is not known yet: then a normal pace of speech is assumed.
    """
    played = ""
    for part in filter(None, (_share(*piece) for piece in pieces)):
        wide = played and _WIDE.match(played[-1])
        played += part if not played or wide else f" {part}"
    return played


def _share(text: str, played_s: float, total_s: float) -> str:
    text = text.strip()
    if 0 < total_s <= played_s:
        return text
    covered = (
        len(text) * played_s / total_s if total_s > 0 else played_s * CHARACTERS_PER_S
    ) + 1e-6
    return "".join(_whole_words(text, covered)).strip()


def _whole_words(text: str, covered: float) -> Iterator[str]:
    length = 0
    for token in _tokens(text):
        length += len(token)
        if length > covered:
            return
        yield token
