"""What a conversation remembers: the user's turns, and of the answers exactly the words that were heard."""

from __future__ import annotations

from collections.abc import Iterable

from fusion.messages import Line

LONGEST = 200  # lines; more never fits a prompt, and engines trim to their own window


class Memory:
    def __init__(self, history: Iterable[Line] = ()) -> None:
        self.lines: list[Line] = list(history)[-LONGEST:]

    def user(self, text: str) -> None:
        self._add("user", text)

    def assistant(self, heard: str) -> None:
        if heard:
            self._add("assistant", heard)

    def drop_question(self) -> None:
        """The last question failed: asked again it must not stand there twice, and it may be what failed."""
        if self.lines and self.lines[-1].role == "user":
            self.lines.pop()

    def prompt(self, instructions: str, text: str = "") -> tuple[Line, ...]:
        """The dialogue to answer. Lines of the user that got no answer are joined: chat templates want turns to alternate."""
        prompt: list[Line] = [Line("system", instructions)] if instructions else []
        for line in (*self.lines, *([Line("user", text)] if text else [])):
            if prompt and prompt[-1].role == line.role:
                line = Line(line.role, f"{prompt.pop().text} {line.text}")
            prompt.append(line)
        return tuple(prompt)

    def _add(self, role: str, text: str) -> None:
        self.lines.append(Line(role, text))
        del self.lines[:-LONGEST]
