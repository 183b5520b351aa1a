"""Chat histories cut to what the model can hold, without control tokens, behind the functions."""

from __future__ import annotations

import json

from whisperfusion.engines.llama.tokens import Tokens
from whisperfusion.engines.prompts import TooLong, fitting
from whisperfusion.engines.protocols import ChatHistory
from whisperfusion.engines.remote.chat import given_in
from whisperfusion.errors import Refused
from whisperfusion.tools import Tools

TOKENS_PER_LINE = 8  # of the template's around it; ChatML has 5
SHORT = 400  # characters of a line that is always counted: once, for what was counted is remembered
MOST_CHARACTERS = 16  # to a token, in a whole line: of none that people write
LEAST_ANSWER = 16  # tokens that a prompt leaves for its answer
MORE = "say less at once, or raise it with LLM_OPTION=context=4096"
# the role of a line that no model sees: what it may use stands in the prompt, and so belongs to
# what a slot has read
TOOLS = "tools"


class Fitting:
    """`context` is the length of one dialogue in tokens, reply included. Thread-safe."""

    def __init__(self, tokens: Tokens, context: int) -> None:
        self._tokens, self._context = tokens, context

    def fit(self, history: ChatHistory, offered: Tools, budget: int) -> ChatHistory:
        """`history` in the words of `messages`, nothing in it a control token, within `budget`; the
        functions stand before it.

        Raises EngineError when the newest question alone is too long, or the functions are.
        """
        tools = ""
        if offered:
            written = json.dumps(offered.for_chat_completions(), ensure_ascii=False)
            tools = self._tokens.plain(written)
        budget -= self._tokens.frame(tools)
        if budget < LEAST_ANSWER:
            raise Refused(
                f"the functions alone fill what the language model can hold ({self._context} "
                f"tokens); {MORE}"
            )
        try:
            kept = fitting(history, budget, self._sizes, in_steps=True)
        except TooLong:
            raise TooLong(
                f"that was more text than the language model can hold ({self._context} tokens); "
                f"{MORE}"
            ) from None
        lines = tuple((role, self._plain(role, text)) for role, text in kept)
        return ((TOOLS, tools), *lines) if tools else lines

    def _plain(self, role: str, text: str) -> str:
        if role not in ("call", "result"):
            return self._tokens.plain(text)
        return json.dumps(
            {name: self._tokens.plain(value) for name, value in given_in(text).items()},
            ensure_ascii=False,
        )

    def _sizes(self, lines: ChatHistory) -> list[int]:
        """Tokens of each line as `_plain` has it; the frame is counted apart.

        Of long lines that cannot be kept the number is estimated: to read a history as long as a
        client may send would take 20 s.
        """
        sizes, total = [0], 0
        for at in reversed(range(len(lines))):
            role, text = lines[at]
            too_far = at > 0 and total > self._context and len(text) > SHORT
            estimated = too_far or len(text) > self._context * MOST_CHARACTERS
            size = TOKENS_PER_LINE + (
                len(text) // 4 if estimated else self._tokens.count(self._plain(role, text))
            )
            sizes.append(size)
            total += size
        sizes.reverse()
        return sizes

    def tokens(self, lines: ChatHistory) -> int:
        """Tokens of the prompt of fitted lines."""
        tools = lines[0][1] if lines and lines[0][0] == TOOLS else ""
        return self._tokens.frame(tools) + sum(self._sizes(lines[1:] if tools else lines))
