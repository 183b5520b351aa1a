"""What a conversation remembers: the user's turns, and of the answers exactly the words that were heard."""

from __future__ import annotations

from collections.abc import Iterable

from fusion.messages import Line

SPOKEN = ("user", "assistant")
LONGEST = 200  # lines; more never fits a prompt, and engines trim to their own window


class Memory:
    def __init__(self, history: Iterable[Line] = ()) -> None:
        self.lines: list[Line] = list(history)[-LONGEST:]

    def user(self, text: str) -> None:
        self._add("user", text)

    def assistant(self, heard: str) -> None:
        if heard:
            self._add("assistant", heard)

    def used(self, role: str, text: str) -> None:
        """A "call" or its "result"."""
        self._add(role, text)

    def amend(self, heard: str, better: str) -> None:
        """Of the answer that is remembered as `heard`, `better` was heard: the client knows."""
        for at in range(len(self.lines) - 1, -1, -1):
            if self.lines[at] == Line("assistant", heard):
                self.lines[at : at + 1] = [Line("assistant", better)] if better else []
                return

    def drop_question(self) -> None:
        """The last question failed: asked again it must not stand there twice, and it may be what failed."""
        if self.lines and self.lines[-1].role == "user":
            self.lines.pop()

    def prompt(self, instructions: str, text: str = "") -> tuple[Line, ...]:
        """The dialogue to answer. Lines of the user that got no answer are joined: chat templates want turns to alternate."""
        prompt: list[Line] = [Line("system", instructions)] if instructions else []
        for line in (*self.lines, *([Line("user", text)] if text else [])):
            if prompt and prompt[-1].role == line.role and line.role in SPOKEN:
                line = Line(line.role, f"{prompt.pop().text} {line.text}")
            prompt.append(line)
        return tuple(prompt)

    def _add(self, role: str, text: str) -> None:
        self.lines.append(Line(role, text))
        del self.lines[:-LONGEST]
