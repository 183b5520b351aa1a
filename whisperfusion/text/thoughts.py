"""A streaming filter for a model's thoughts (reasoning).

Models mark thoughts in many ways: `<think>…</think>` and similar, `[THINK]…[/THINK]`,
`◁think▷…◁/think▷`, and the channels of gpt-oss. Some chat templates write the opening mark
themselves, so that the reply has only the closing one: all text before it was a thought. Where that
is known, the text is held until the mark arrives (`held`); where it is not, text that was already
returned is void, and `void` is set. Marks may be split anywhere; text that may become one is held,
at most `LONGEST_MARK` characters. A mark between backticks is quoted, and stays.
"""

from __future__ import annotations

import re

NAMES = (
    "think",
    "thinking",
    "thought",
    "thoughts",
    "reasoning",
    "reason",
    "reflection",
    "scratchpad",
    "analysis",
    "seed:think",
    "inner_monologue",
    "internal_monologue",
    "antthinking",
    "chain_of_thought",
    "cot",
)
OPENING = {
    *(f"<{name}>" for name in NAMES),
    "[think]",
    "◁think▷",
    "<|begin_of_thought|>",
    "<|start_thinking|>",
    "<|channel>thought",
    "<|think|>",
    "<|thinking|>",
    "<|begin_of_thinking|>",
}
CLOSING = {
    *(f"</{name}>" for name in NAMES),
    "[/think]",
    "◁/think▷",
    "<|end_of_thought|>",
    "<|end_thinking|>",
    "<channel|>",
    "<|/think|>",
    "<|/thinking|>",
    "<|end_of_thinking|>",
}
# Marks around the answer or a message: removed, without hiding any text.
DROPPED = {
    "<answer>",
    "</answer>",
    "<|start_response|>",
    "<|end_response|>",
    "<|begin_of_solution|>",
    "<|end_of_solution|>",
    "<|return|>",
    "<|end|>",
    "<|im_end|>",
    "<|eot_id|>",
    "<|endoftext|>",
    "<final>",
    "</final>",
    "<response>",
    "</response>",
}
CHANNEL, MESSAGE, START = "<|channel|>", "<|message|>", "<|start|>"
MARKS = OPENING | CLOSING | DROPPED | {CHANNEL, MESSAGE, START}
LONGEST_HEADER = 60  # characters of a channel's name, or of a tag's attributes
LONGEST_MARK = max(map(len, MARKS)) + LONGEST_HEADER
FIRST = "<[◁"
_WITH_MORE = re.compile(rf"<(?:{'|'.join(NAMES)})\s[^<>]{{0,{LONGEST_HEADER}}}>?")
_PLAIN_CHANNELS = re.compile(
    r"analysis(?=[A-Z])"
)  # gpt-oss where a server has dropped the marks themselves
_PLAIN_FINAL = "assistantfinal"
LIKE_A_THOUGHT = re.compile(
    r"(?i)\b(?:the user|user (?:is|wants|asks|asked|said|says)|(?:i|we) (?:need|should|have|"
    r"must|ought|want|can|could) (?:to )?(?:answer|respond|reply|"
    r"provide|explain|figure|find|determine|recall|think|start|consider|produce|output|give|be "
    r"careful|write|say|mention)|let me (?:think|see|recall|"
    r"start|consider|break|figure|check|analy[sz]e)|let's (?:think|see|analy[sz]e|break)|my "
    r"(?:answer|response|reply) should|"
    r"they(?:'re| are) asking|the (?:question|answer|query) is (?:about|asking|simply|just))\b|"
    r"^(?:okay|ok|alright|wait),? so\b|^hmm"
)


class Thoughts:
    """`held`: the reply starts inside a thought that the prompt has opened."""

    def __init__(self, held: bool = False) -> None:
        self._undecided = ""  # may become a mark
        self._hidden = False
        self._header = False  # between a channel's or role's mark and its message
        # text before any mark, where it is to be held
        self._kept: list[str] | None = [] if held else None
        self._nested = 0
        self._begun = self._thought = False
        self._before = ""  # the last visible character
        self._final = ""  # closes a thought whose marks were removed by the server
        self.void = False  # all text returned so far was a thought; reset by the reader
        self.preopened = False  # a closing mark without an opening one

    @property
    def seen(self) -> bool:
        return self._thought or self._hidden

    @property
    def thinking(self) -> bool:
        return self._hidden or self._header or self._kept is not None

    @property
    def kept(self) -> str:
        """Text that is held because it may be, or is, a thought."""
        return "".join(self._kept or [])

    def feed(self, piece: str) -> str:
        """More of the reply; returns its visible text."""
        text = self._undecided + piece
        out: list[str] = []
        if not self._begun:
            text = self._start(text)
        at = 0
        while at < len(text):
            found = self._next(text, at)
            out.append(self._shown(text[at:found], out))
            if found == len(text):
                at = found
                break
            length = self._mark(text, found)
            if length == 0:  # incomplete
                at = found
                break
            at = found + abs(length)
            if length < 0:
                out.append(self._shown(text[found:at], out))
            else:
                self._apply(text[found:at].lower(), out)
        self._undecided = text[at:]
        return "".join(out)

    def flush(self, cut: bool = False) -> str:
        """The end of the reply: held text is visible, unless it was a thought: one that was `cut`
        did not reach its closing mark.
        """
        rest, self._undecided = self._undecided, ""
        if cut and self._kept is not None:
            self._kept, self._thought, self.preopened = None, True, True
            return ""
        out = [self._shown(rest, [])]
        if self._kept is not None:
            out, self._kept = [*self._kept, *out], None
        return "".join(out)

    def release(self) -> str:
        """The server returns thoughts separately: nothing has to be held any more."""
        kept, self._kept = self._kept or [], None
        return "".join(kept)

    # --- parsing
    # ----------------------------------------------------------------------------------------------

    def _start(self, text: str) -> str:
        """Whether a server removed the marks and left the names of the channels."""
        plain = text.lstrip()
        if len(plain) <= len("analysis") and "analysis".startswith(plain):
            return text
        self._begun = True
        if _PLAIN_CHANNELS.match(plain):
            self._hidden, self._final = True, _PLAIN_FINAL
        return text

    def _next(self, text: str, at: int) -> int:
        """The position where the next mark may start."""
        if not self._begun:  # at most the first word
            return at
        places = [place for sign in FIRST + self._final[:1] if (place := text.find(sign, at)) >= 0]
        return min(places, default=len(text))

    def _mark(self, text: str, at: int) -> int:
        """Length of the mark at `at`; 0 = it may become one; negative: characters that cannot."""
        if not self._begun:
            return 0
        tail = text[at : at + LONGEST_MARK].lower()
        if self._final and tail.startswith(self._final):
            return len(self._final)
        quoted = (text[at - 1] if at else self._before) == "`"
        close = max((len(mark) for mark in MARKS if tail.startswith(mark)), default=0)
        if close and not quoted:
            return close
        more = _WITH_MORE.match(tail)
        if more and not quoted:
            if more[0].endswith(">"):
                return len(more[0])
            if len(more[0]) == len(tail):
                return 0
        begun = any(mark.startswith(tail) for mark in MARKS) or bool(
            self._final and self._final.startswith(tail)
        )
        return 0 if begun and not quoted else -1

    def _apply(self, mark: str, out: list[str]) -> None:
        if mark in (CHANNEL, START):
            self._header, self._name = True, ""
        elif mark == MESSAGE:
            if self._header:
                self._hidden = not self._name.strip().startswith(
                    ("final", "assistant", "user", "system", "developer")
                )
                self._thought = self._thought or self._hidden
                if not self._hidden:
                    self._kept = None
            self._header = False
        elif mark in CLOSING or mark == self._final:
            self._close(out)
        elif mark in DROPPED:
            if mark == "<|end|>":
                self._hidden = False
        elif self._hidden:
            self._nested += 1
        else:
            if self._kept is not None:
                out.append(self.release())
            self._hidden = True

    def _close(self, out: list[str]) -> None:
        if self._hidden:
            self._hidden, self._thought, self._final = False, True, ""
        elif not self._thought or self._nested:
            self._nested = max(0, self._nested - 1)
            self.preopened = self.preopened or not self._thought
            self._thought, self._kept = True, None
            out.clear()
            self.void = True

    def _shown(self, text: str, out: list[str]) -> str:
        if not text:
            return ""
        self._before = text[-1]
        if self._header:
            self._name = (self._name + text)[:LONGEST_HEADER]
            return ""
        if self._hidden:
            return ""
        if self._kept is not None:
            self._kept.append(text)
            return ""
        return text


def without_thoughts(text: str) -> str:
    """A complete text without its thoughts."""
    thoughts = Thoughts(held=True)
    return thoughts.feed(text) + thoughts.flush()


def looks_like_a_thought(text: str) -> bool:
    """Whether the start of a reply reads like a model that talks to itself."""
    return LIKE_A_THOUGHT.search(text[:300]) is not None


# Models whose chat templates open a thought.
OPENERS = re.compile(
    r"(?i)(?:^|[-_/:. ])(?:r1|qwq|qvq|deepthink|think|thinking|thinker|reasoning|reasoner|"
    r"reason|magistral|marco-o1|exaone-deep|skywork-o1|z1)(?=$|[-_/:. 0-9])"
)


def opens_by_itself(model: str) -> bool:
    return OPENERS.search(model) is not None
