"""A chat history as the text that a model was trained on, and as token ids within a limit.

The roles of most models are control tokens. What people say must never become one, or a caller
could write the instructions of the next answer, so the spellings of control tokens are taken out of
every line, and the finished prompt is compared with an empty one: exactly the same control tokens,
or it is refused. Phi-2 and Mistral write their roles in plain text; there the line breaks or marks
that would open a role are taken out instead. The whole prompt is tokenized in one go, as in
training, because a tokenizer may swallow the space beside a control token. The first token (<s>) is
added or not as tokenizer.json says: revisions of Phi-3 differ in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from whisperfusion.engines.protocols import ChatHistory
from whisperfusion.engines.remote.chat import messages
from whisperfusion.errors import EngineError, Refused


class TooLong(Refused):
    """The newest question alone is longer than the model can hold."""


@dataclass(frozen=True)
class Template:
    """`pieces` gives one text for each line and one more that opens the answer; joined they are the
    prompt.

    `ends` are the tokens that end an answer: the vocabulary must have them, the first is the
    engine's end token. `also` end it where the vocabulary has them: the model's own end of text,
    and what opens the line of another. `stops` end it as text. `marks` may not stand in a line.
    """

    pieces: Callable[[ChatHistory], list[str]]
    ends: tuple[str, ...]
    also: tuple[str, ...] = ()
    stops: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()


def phi_2(lines: ChatHistory) -> list[str]:
    """Instruct: and Output:.

    This form has no system role: the instructions stand before it as a paragraph.

    A line break inside a line would let it open a role of its own.
    """
    names = {"user": "Instruct: ", "assistant": "Output: "}
    written = [
        f"{text}\n\n" if role == "system" else f"{names[role]}{' '.join(text.split())}\n"
        for role, text in lines
    ]
    return [*written, "Output:"]


def phi_3(lines: ChatHistory) -> list[str]:
    return [*(f"<|{role}|>\n{text}<|end|>\n" for role, text in lines), "<|assistant|>\n"]


def chatml(lines: ChatHistory) -> list[str]:
    return [
        *(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in lines),
        "<|im_start|>assistant\n",
    ]


def mistral(lines: ChatHistory) -> list[str]:
    """[INST] question [/INST] answer</s>.

    It has no system role: the instructions open the first question.
    """
    made, opened = [], False
    for at, (role, text) in enumerate(lines):
        alone = role == "system" and not (at + 1 < len(lines) and lines[at + 1][0] == "user")
        if role == "assistant":
            made.append(f" {text}</s>" if at else f"[INST] [/INST] {text}</s>")
        elif role == "system" and not alone:
            made.append(f"[INST] {text}\n\n")
        else:
            made.append(f"{text} [/INST]" if opened else f"[INST] {text} [/INST]")
        opened = role == "system" and not alone
    return [*made, ""]


TEMPLATES = {
    "phi-2": Template(
        phi_2,
        ("<|endoftext|>",),
        stops=("\nInstruct:", "\nOutput:", "\nAlice:", "\nBob:", "\nInstruction:"),
    ),
    "phi-3": Template(
        phi_3, ("<|end|>", "<|endoftext|>"), also=("<|user|>", "<|system|>", "<|assistant|>")
    ),
    "chatml": Template(chatml, ("<|im_end|>",), also=("<|im_start|>", "<|endoftext|>", "</s>")),
    "mistral": Template(mistral, ("</s>",), marks=("[INST]", "[/INST]")),
}
ARCHITECTURES = {
    "PhiForCausalLM": "phi-2",
    "Phi3ForCausalLM": "phi-3",
    "MistralForCausalLM": "mistral",
    "LlamaForCausalLM": "mistral",
}
LONGEST_WORD = 40  # characters; where no space comes for so long, there are none between words
TOO_LONG = (
    "that was more text than the language model can hold; say less at once, or build its "
    "engine with a larger --max_input_len"
)


def chosen_template(name: str, architecture: str, tokenizer: Any) -> Template:
    """`name` if given; else ChatML where the vocabulary has it (tunes keep their base's
    architecture), else the architecture's.
    """
    if not name:
        name = (
            "chatml"
            if tokenizer.token_to_id("<|im_end|>") is not None
            else ARCHITECTURES.get(architecture, "")
        )
    if name not in TEMPLATES:
        raise EngineError(
            f"the form of the prompts is not known for {architecture!r} (template {name!r}); "
            f"choose one with LLM_OPTION=template=, of {', '.join(TEMPLATES)}"
        )
    return TEMPLATES[name]


class Prompts:
    """Dialogues as token ids, at most `budget` of them. `tokenizer` is a `tokenizers.Tokenizer`.

    `in_steps` is for engines that reuse what they read of a prompt: see `fitting`.
    """

    def __init__(
        self, tokenizer: Any, template: Template, budget: int, *, in_steps: bool = False
    ) -> None:
        self._tokenizer, self._template, self._budget, self._in_steps = (
            tokenizer,
            template,
            budget,
            in_steps,
        )
        added = {
            id: token.content
            for id, token in tokenizer.get_added_tokens_decoder().items()
            if token.content.strip()
        }
        self._control = set(added)
        marks = sorted({*added.values(), *template.marks}, key=len, reverse=True)
        self._marks = re.compile("|".join(map(re.escape, marks)) or "(?!)")
        self._tokens_of = lru_cache(maxsize=1024)(
            lambda piece: len(self._encode(piece, whole=False))
        )
        self._framed = len(self._encode(""))  # tokens that the tokenizer itself adds
        missing = [name for name in template.ends if tokenizer.token_to_id(name) is None]
        if missing:
            raise EngineError(
                f"tokenizer.json does not know {', '.join(missing)}, with which this model ends "
                "its answers: it is another model's, or LLM_OPTION=template= names the wrong "
                "form. Build the engine again"
            )
        known = (tokenizer.token_to_id(name) for name in (*template.ends, *template.also))
        # the first is the end token
        self.stop_ids: list[int] = list(dict.fromkeys(id for id in known if id is not None))

    def ids(self, lines: ChatHistory) -> list[int]:
        """The prompt that asks for the answer to `lines`, the oldest turns left out where it
        would be too long.
        """
        lines = [(role, self._plain(text)) for role, text in lines_of(lines)]
        budget = self._budget
        while True:
            kept = fitting(lines, budget, self._sizes, self._in_steps)
            ids = self._encode("".join(self._template.pieces(kept)))
            if len(ids) <= self._budget:
                break
            # pieces are counted one by one; together they may be a token more
            budget -= len(ids) - self._budget
        frame = self._encode("".join(self._template.pieces([(role, "") for role, _ in kept])))
        if self._controls(ids) != self._controls(frame):
            raise EngineError(
                "the dialogue contains a spelling of this model's control tokens; say it in other "
                "words"
            )
        return ids

    def _plain(self, text: str) -> str:
        return self._marks.sub(" ", text)

    def _sizes(self, lines: ChatHistory) -> list[int]:
        """Tokens of each line, and of what every prompt has."""
        *pieces, opening = self._template.pieces(lines)
        return [*map(self._tokens_of, pieces), self._tokens_of(opening) + self._framed]

    def _encode(self, text: str, whole: bool = True) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=whole).ids)

    def _controls(self, ids: Sequence[int]) -> list[int]:
        return [id for id in ids if id in self._control]


def lines_of(lines: ChatHistory) -> ChatHistory:
    """Text that is not Unicode (half a surrogate pair) cannot be tokenized: it becomes "?"."""
    return [(message["role"], message["content"]) for message in messages(lines)]


def fitting(
    lines: ChatHistory,
    budget: int,
    sizes: Callable[[ChatHistory], list[int]],
    in_steps: bool = False,
) -> ChatHistory:
    """`lines` within `budget` tokens: a question leaves together with its answer, the oldest first.

    The newest question is never cut: EngineError when it is too long by itself. Of the instructions
    as much stays as leaves room for it. `in_steps` leaves out half of the budget at a time, because
    each time that the beginning of a dialogue changes, all of it must be read again; what stays the
    same is found in the cache.
    """
    *each, opening = sizes(lines)
    head = 1 if lines and lines[0][0] == "system" else 0
    questions = [at for at in range(head, len(lines)) if lines[at][0] == "user"] or [len(lines)]
    newest = opening + sum(each[questions[-1] :])
    if newest > budget:
        raise TooLong(TOO_LONG)
    if newest + sum(each[:head]) > budget:
        return [*shortened(lines[:head], budget - newest, sizes), *lines[questions[-1] :]]
    excess = sum(each) + opening - budget
    if excess <= 0:
        return lines
    step = max(1, budget // 2) if in_steps else 1
    goal = -(-excess // step) * step
    first = next((at for at in questions if sum(each[head:at]) >= goal), questions[-1])
    return [*lines[:head], *lines[first:]]


def shortened(
    head: ChatHistory, room: int, sizes: Callable[[ChatHistory], list[int]]
) -> ChatHistory:
    """The beginning of the instructions that takes at most `room` tokens, up to a space where
    the script has any; none if that is next to nothing.
    """
    if not head:
        return []
    role, text = head[0]
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if sizes([(role, text[:middle])])[0] <= room:
            low = middle
        else:
            high = middle - 1
    space = text.rfind(" ", max(0, low - LONGEST_WORD), low)
    if space < 0 and low <= LONGEST_WORD:
        return []
    short = text[: space if space >= 0 else low]
    return [(role, short)] if short.strip() else []
