"""A transcript, and its forms as rules read them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from whisperfusion.tools.router.spoken import clauses, in_digits, lowered, request

Arguments = dict[str, Any]


@dataclass(frozen=True)
class Heard:
    """`now` is the user's time of day. Each form is made when a rule asks for it."""

    text: str
    now: datetime

    @cached_property
    def lower(self) -> str:
        return lowered(self.text)

    @cached_property
    def clauses(self) -> list[str]:
        return clauses(self.lower)

    @cached_property
    def request(self) -> str:
        """Without greeting, "could you" and "please"."""
        return request(self.lower)

    @cached_property
    def digits(self) -> str:
        """`request` with its numbers in digits."""
        return in_digits(self.request)
