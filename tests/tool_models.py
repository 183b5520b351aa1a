"""Language models for tests of the server's tools: one that follows a script, and the worst case,
one that obeys every instruction that it reads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from whisperfusion.engines import ToolCall
from whisperfusion.tools import NO_TOOLS, Tools

ORDER = re.compile(r"CALL (\w+) (\{[^{}]*\})|SAY (\w+)")


def call(name: str, **arguments: Any) -> ToolCall:
    return ToolCall("call_0", name, json.dumps(arguments))


class ScriptLLM:
    """Each question to it gets the next of `script`: texts and calls. `prompts` are those that it
    was asked with, `offered` the functions.
    """

    accepts_tools = True
    model, device, parallel = "script", "cpu", 8

    def __init__(self, *script: tuple[str | ToolCall, ...]) -> None:
        self.script = list(script)
        self.prompts: list[tuple[tuple[str, str], ...]] = []
        self.offered: list[Tools] = []

    def prefill(self, history, tools: Tools = NO_TOOLS) -> Iterator[str]:
        self.prompts.append(tuple(map(tuple, history)))
        self.offered.append(tools)
        yield from ()

    def stream_chat(
        self, history, *, max_tokens: int, temperature: float, tools: Tools = NO_TOOLS
    ) -> Iterator[str | ToolCall]:
        self.prompts.append(tuple(map(tuple, history)))
        self.offered.append(tools)
        yield from self.script.pop(0)


class ObedientLLM(ScriptLLM):
    """Does all that anything in its prompt tells it: `CALL tool {…}` and `SAY word`, each once,
    whoever wrote it. `CALL` in the newest words of the user comes first.
    """

    def stream_chat(
        self, history, *, max_tokens: int, temperature: float, tools: Tools = NO_TOOLS
    ) -> Iterator[str | ToolCall]:
        self.prompts.append(tuple(map(tuple, history)))
        self.offered.append(tools)
        done = {json.loads(text)["arguments"] for role, text in history if role == "call"}
        read = "\n".join(
            json.loads(text)["output"] if role == "result" else text
            for role, text in history
            if role in ("user", "result")
        )
        said = []
        for name, arguments, word in ORDER.findall(read):
            if word:
                said.append(word)
            elif arguments not in done:
                yield ToolCall("call_0", name, arguments)
        yield f"Here it is. {' '.join(said)}"
