"""The language model process's service with scripted models and tools of the test."""

from __future__ import annotations

import json
import queue
import time

from tool_models import ScriptLLM

from llm_service import Service
from whisperfusion.messages import (
    ChatMessage,
    Commit,
    Failed,
    Generate,
    Sentence,
    Ticket,
    ToolFinished,
    ToolStarted,
)
from whisperfusion.settings import Settings
from whisperfusion.tools import ServerTool
from whisperfusion.tools.running import BoundTool

TICKET = Ticket("a", 1, 1)
PATIENCE_S = 60.0  # bound of a test that fails


class Outbox(queue.Queue):
    def until(self, kind: type) -> list:
        found = [self.get(timeout=PATIENCE_S)]
        while not isinstance(found[-1], kind):
            found.append(self.get(timeout=PATIENCE_S))
        return found

    def until_last(self) -> list:
        found = [self.get(timeout=PATIENCE_S)]
        while not (isinstance(found[-1], Failed) or getattr(found[-1], "last", False)):
            found.append(self.get(timeout=PATIENCE_S))
        return found


def tool(name: str, run, **fields) -> BoundTool:
    schema = {"type": "object", "properties": {}}
    return BoundTool(
        ServerTool(name, name, schema, **{"source": "test", **fields}), lambda given: given, run
    )


class Machine:
    """The service with a model that follows `script`, and tools of the test beside the server's."""

    def __init__(self, *script, tools=(), model=None, **settings) -> None:
        self.outbox = Outbox()
        self.service = Service(Settings(llm_engine="scripted", **settings), self.outbox)
        self.llm = model or ScriptLLM(*script)
        self.service.model.chain.links[0].engine = self.llm
        catalog = self.service.tools.loop.catalog
        catalog._builtin = (*catalog.all(), *tools)
        self.service.worker.start()

    def ask(self, text="please", *, names=("test",), ticket=TICKET, commit=True, **fields) -> None:
        history = fields.pop("history", (ChatMessage("user", text),))
        self.service.handle(Generate(ticket, history, server_tools=names, **fields))
        if commit:
            self.service.handle(Commit(ticket))

    def reply(self, *args, **fields) -> list:
        self.ask(*args, **fields)
        return self.outbox.until_last()

    def stop(self) -> None:
        self.service.worker.stop()
        self.service.tools.stop()


def until(condition) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def said(messages) -> str:
    return " ".join(m.text for m in messages if isinstance(m, Sentence) and m.text)


def of(kind, messages) -> list:
    return [m for m in messages if isinstance(m, kind)]


def lines_of(found, question: str, answer: str) -> tuple[ChatMessage, ...]:
    """The history after that reply, as the conversation keeps it."""
    lines = [ChatMessage("user", "please")]
    for message in found:
        if isinstance(message, ToolStarted):
            given = {"id": message.id, "name": message.name, "arguments": message.arguments}
            lines.append(ChatMessage("call", json.dumps(given)))
        elif isinstance(message, ToolFinished):
            given = {"id": message.id, "output": message.output}
            lines.append(ChatMessage("result", json.dumps(given)))
    return (*lines, ChatMessage("assistant", question), ChatMessage("user", answer))
