"""The chat history of a call: the user's turns, and of the replies exactly what was heard."""

from __future__ import annotations

from collections.abc import Iterable

from whisperfusion.messages import ChatMessage

SPOKEN = ("user", "assistant")
LONGEST = 200  # messages; more never fits a prompt, and engines trim to their own window


FACTS = "What you know of the user from earlier calls:"  # in every prompt, before the facts
SUMMARY = "What was said before, summed up:"  # in every prompt, before the summary


def with_facts(instructions: str, facts: Iterable[str]) -> str:
    """`instructions`, which know the user. The facts of a call stay the same, so the prompt cache
    has them.
    """
    known = " ".join(facts)
    return "\n\n".join(filter(None, (instructions, f"{FACTS} {known}" if known else "")))


class ChatHistory:
    """`summary` stands for what was said before the messages; "" = nothing was."""

    def __init__(self, messages: Iterable[ChatMessage] = (), summary: str = "") -> None:
        self.messages: list[ChatMessage] = list(messages)[-LONGEST:]
        self.summary = summary
        self._reopened = False  # what the user says next belongs to the last message

    def add(self, role: str, text: str) -> None:
        if role == "user" and self._reopened and self.messages:
            text = f"{self.messages.pop().text} {text}"
        self._reopened = False
        self.messages.append(ChatMessage(role, text))
        del self.messages[:-LONGEST]

    def reopen(self) -> bool:
        """The user had not finished: what comes next goes on with the last message, if that is the
        user's. Is it?
        """
        self._reopened = bool(self.messages) and self.messages[-1].role == "user"
        return self._reopened

    def asked(self) -> str:
        """What the assistant said last, if the user has said nothing since."""
        last = self.messages[-1] if self.messages else None
        return last.text if last is not None and last.role == "assistant" else ""

    def amend(self, played: str, better: str) -> None:
        """Of the reply that is kept as `played`, `better` was heard: the client knows."""
        for at in range(len(self.messages) - 1, -1, -1):
            if self.messages[at] == ChatMessage("assistant", played):
                self.messages[at : at + 1] = [ChatMessage("assistant", better)] if better else []
                return

    def drop_question(self) -> None:
        """The last question failed: asked again it must not stand there twice, and it may be what
        failed.
        """
        self._reopened = False
        if self.messages and self.messages[-1].role == "user":
            self.messages.pop()

    # --- its beginning, summed up ----------------------------------------------------------------

    def characters(self) -> int:
        return sum(len(message.text) for message in self.messages)

    def ends_before(self, most: int) -> int:
        """How many messages end with a reply, `most` at most: what follows is a new question."""
        return next(
            (at for at in range(most, 0, -1) if self.messages[at - 1].role == "assistant"), 0
        )

    def summarize(self, count: int, summary: str) -> None:
        """The summary, which knows the one before it, replaces the first `count` messages."""
        self.summary = summary
        del self.messages[:count]

    def prompt(
        self, instructions: str, text: str = "", first: int | None = None
    ) -> tuple[ChatMessage, ...]:
        """The dialogue to reply to. `first`: what was said in so many of its messages, to be summed
        up; a summary stands beside the instructions, where no result of a tool may come.

        Messages of the user that got no reply are joined: chat templates want roles to alternate.
        """
        summary = f"{SUMMARY} {self.summary}" if self.summary else ""
        known = "\n\n".join(filter(None, (instructions, summary)))
        prompt: list[ChatMessage] = [ChatMessage("system", known)] if known else []
        for message in (*self.messages[:first], *([ChatMessage("user", text)] if text else [])):
            if first is not None and message.role not in SPOKEN:
                continue
            if prompt and prompt[-1].role == message.role and message.role in SPOKEN:
                message = ChatMessage(message.role, f"{prompt.pop().text} {message.text}")
            prompt.append(message)
        return tuple(prompt)
