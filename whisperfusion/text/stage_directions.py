"""A streaming filter for stage directions: "*chuckles* Well, hello", "(sighs)", "[laughs]".

Emphasis looks the same ("I *really* mean it"), so only words for a sound or a gesture count, or a
whole phrase that starts a sentence with a verb ("*leans back in the chair* Hm."). Text is held only
while it can still become one: from an opening mark to the end of the first word, and then to the
closing mark, at most `LONGEST` characters.

The note that tells a model its language is taken out like one: a small model repeats it at times
("¡Hola! (Responde en español.)").
"""

from __future__ import annotations

import re

from whisperfusion.text.languages import NOTES

LONGEST = 100
PAIRS = {"*": "*", "_": "_", "(": ")", "[": "]", "<": ">", "（": "）", "［": "］", "【": "】"}
_SOUNDING = """
    laugh chuckle giggle snicker snort cackle sigh gasp groan moan grunt grumble growl whistle
    sniff sniffle sob weep yawn cough sneeze gulp inhale exhale shudder blush smile grin smirk
    frown wink nod shrug pause hesitate whisper murmur mutter mumble chortle titter wince cringe
    facepalm stammer stutter purr meow
""".split()
# Words with other meanings too: only at the start of a sentence.
_MOVING = """
    hum sing cry clear swallow breathe pant shiver tremble blink shake wave bow think ponder
    shout yell scream lean tilt raise lower look glance gaze stare roll rub scratch tap clap
    applaud cheer snap point gesture sit stand step walk turn place put hold reach adjust stroke
    pat hug kiss lick bark wag tut type beep ding click
""".split()


def _forms(stem: str) -> set[str]:
    third = f"{stem}es" if stem.endswith(("s", "sh", "ch", "x", "z")) else f"{stem}s"
    if stem.endswith("y") and stem[-2] not in "aeiou":
        third = f"{stem[:-1]}ies"
    base = stem[:-1] if stem.endswith("e") else stem
    doubled = (
        stem + stem[-1]
        if len(stem) < 5
        and stem[-1] in "bgmnpt"
        and stem[-2] in "aeiou"
        and stem[-3:-2] not in tuple("aeiou")
        else base
    )
    return {third, f"{base}ing", f"{doubled}ing"}


SURE = frozenset(form for stem in _SOUNDING for form in _forms(stem)) | {"clears throat"}
GESTURES = SURE | frozenset(form for stem in _MOVING for form in _forms(stem))
# Only in brackets: "*pause*" may be emphasis, "(pause)" is a direction.
SOUNDS = frozenset(
    """
    laugh laughter chuckle giggle sigh gasp groan cough yawn sniff sniffle sob applause pause
    silence beat music whisper smile wink nod shrug gulp hum clears throat sarcasm sarcastic
    sarcastically excited excitedly sad sadly happy happily softly quietly whispering laughing
    inaudible crosstalk exhale inhale breath sneeze grin smirk snort growl drumroll crickets
""".split()
)
MANNER = frozenset(
    "softly quietly gently warmly slowly nervously playfully thoughtfully sheepishly awkwardly "
    "dramatically loudly "
    "sarcastically excitedly happily sadly briefly still audibly visibly slightly".split()
)
NO_VERBS = frozenset(
    "this is was has does its his yes as us plus less thus always perhaps sometimes besides "
    "towards various sometimes numerous nothing something everything anything during king thing "
    "being according including unless across news series means lots things ones yours ours hers "
    "theirs themselves ourselves process "
    "business address access success".split()
)
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_PHRASE = re.compile(r"[a-z][a-z'’ ,-]*")
_NOTES = tuple(note[1:-1] for note in sorted(NOTES) if note)


def is_direction(inside: str, mark: str, opens: bool) -> bool:
    """Whether `inside`, found between `mark` and its partner, is a stage direction. `opens`: it
    starts a sentence.
    """
    if mark in "(（" and inside in _NOTES:
        return True
    found = _WORD.findall(inside.lower())
    if (
        not found
        or any(c.isdigit() for c in inside)
        or len(found) > 12
        or "/" in inside
        or "=" in inside
    ):
        return False
    words = found[1:] if found[0] in MANNER and len(found) > 1 else found
    if len(found) == 1 and found[0] in MANNER:
        return mark in "([<（［【"
    if words[0] in SURE or (
        words[0] in GESTURES and (opens or words[1:2] == ["throat"] or words[2:3] == ["throat"])
    ):
        return mark in "*_" or len(words) <= 7
    if mark in "([<（［【":
        return words[0] in SOUNDS and len(words) <= 3
    verb = (
        len(words[0]) > 3
        and words[0].isascii()
        and words[0].endswith(("s", "ing"))
        and words[0] not in NO_VERBS
        and not words[0].endswith("ss")
    )
    return (
        mark == "*" and opens and len(words) >= 2 and verb and _PHRASE.fullmatch(inside) is not None
    )


class StageDirections:
    """The filter of one reply. Also removes the white space that a direction leaves behind."""

    def __init__(self) -> None:
        self._held = ""  # from an opening mark on
        self._space = ""  # emitted before the next character
        self._last = "\n"  # the last character emitted, including space
        self._opens = True  # the next character starts a sentence
        self._removed = False  # a direction was just removed
        self._closed = ""  # a phrase that is a direction unless a lower-case word follows

    def feed(self, piece: str) -> str:
        out: list[str] = []
        for character in piece:
            self._feed(character, out)
        return "".join(out)

    def flush(self) -> str:
        out: list[str] = []
        if self._closed:
            self._closed = ""
        held, self._held = self._held, ""
        self._emit(held, out)
        return "".join(out)

    def _feed(self, c: str, out: list[str]) -> None:
        if self._closed:
            if c.isspace():
                self._closed += c
                return
            closed, self._closed = self._closed, ""
            if c.islower():
                self._emit(closed, out)
        if self._held:
            self._hold(c, out)
        elif c in PAIRS and self._may_open(c):
            self._held = c
        else:
            self._emit(c, out)

    def _may_open(self, c: str) -> bool:
        if c == "<":
            return True
        return (
            not (self._space or self._last).strip()
            or self._last in "([\"'“‘—-.!?…,;:）】"
            or c in "（［【"
        )

    def _hold(self, c: str, out: list[str]) -> None:
        mark = self._held[0]
        if c == PAIRS[mark] and len(self._held) > 1:
            inside, self._held = self._held[1:], ""
            if not is_direction(inside, mark, self._opens):
                self._emit(mark + inside + c, out)
            elif mark == "*" and not self._surely(inside):
                self._closed = mark + inside + c
            self._removed = True
            return
        self._held += c
        if not self._possible():
            held, self._held = self._held, ""
            again = held[-1] in PAIRS and held[-1] != mark
            self._emit(held[:-1] if again else held, out)
            if again:
                self._feed(held[-1], out)

    def _surely(self, inside: str) -> bool:
        words = _WORD.findall(inside.lower())
        return any(word in GESTURES for word in words[:2])

    def _possible(self) -> bool:
        """Whether the held text may still become a direction."""
        mark, inside = self._held[0], self._held[1:]
        if mark in "(（" and any(note.startswith(inside) for note in _NOTES):
            return True
        if (
            "\n" in inside
            or len(inside) > LONGEST
            or inside[0].isspace()
            or inside[0] in "*_`[(<|/!"
            or inside[-1] in "*_[(<>{}|`=/"
        ):
            return False
        first = _WORD.match(inside)
        if first is None:
            return False
        if first.end() == len(inside):
            return len(inside) < 24
        word = first[0].lower()
        if word in MANNER or word in GESTURES:
            return True
        if mark in "([<（［【":
            return word in SOUNDS and len(inside) < 40
        return mark == "*" and self._opens and word.endswith(("s", "ing")) and word not in NO_VERBS

    def _emit(self, text: str, out: list[str]) -> None:
        for c in text:
            if c.isspace():
                self._space += "" if self._removed and self._space and c == " " else c
                self._opens = self._opens or c == "\n"
                continue
            if self._space and not (self._removed and c in ",.;:!?"):
                out.append(self._space)
            self._space, self._removed = "", False
            out.append(c)
            self._last = c
            self._opens = c in ".!?…\n:" or (self._opens and c in "\"“'*_)")


def without_stage_directions(text: str) -> str:
    directions = StageDirections()
    return directions.feed(text) + directions.flush()
