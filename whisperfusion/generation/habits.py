"""How each link's model shows its thoughts: learned from a first question, and from each answer."""

from __future__ import annotations

import logging
from contextlib import suppress

from whisperfusion.engines.chain.llm_link import Link
from whisperfusion.errors import EngineError
from whisperfusion.generation.answer import Answer, ThoughtHabit
from whisperfusion.messages import Ticket

# Any model ends this answer within so many tokens, unless it thinks.
FIRST_QUESTION = (("system", "Answer with one word."), ("user", "Say hello."))
FIRST_TOKENS = 64

log = logging.getLogger("llm")


class Habits:
    def __init__(self) -> None:
        self._habits: dict[str, ThoughtHabit] = {}  # by the title of the link

    def of(self, link: Link) -> ThoughtHabit:
        model = link.engine.model if link.engine is not None else link.name
        return self._habits.setdefault(link.title, ThoughtHabit(model, link.remote))

    def get_to_know(self, link: Link) -> EngineError | None:
        """Ask for one word: it shows the server's options and the model's thoughts before a caller
        would have to wait for that. An error is returned: no caller has asked.
        """
        habit = self.of(link)
        habit.expect_thought()
        answer = Answer(Ticket("", 0), False, habit, lambda message: None)
        try:
            server = link.load()
            asked = server.stream_chat(FIRST_QUESTION, max_tokens=FIRST_TOKENS, temperature=0.0)
            for piece in asked:
                answer.feed(piece)
        except EngineError as error:
            habit.forget()
            log.info("the first question to %s was not answered: %s", link.name, error)
            return error
        with suppress(EngineError):  # only thoughts, which is known now
            answer.end()
        return None
