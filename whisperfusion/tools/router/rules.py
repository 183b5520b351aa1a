"""The rules for the built-in tools: a transcript in English to a tool and its arguments.

Each rule gets a `Heard` and returns arguments, or None: not this tool. Rules are strict, since what
they let through is done at once: a tool that is missed costs an answer in words, one that is used
without need may end a call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from whisperfusion.tools.router.ending import end_call
from whisperfusion.tools.router.heard import Arguments, Heard
from whisperfusion.tools.router.search import web_search
from whisperfusion.tools.router.sums import calculate
from whisperfusion.tools.router.time_of_day import get_time
from whisperfusion.tools.router.timers import cancel_timer, list_timers, set_timer

Rule = Callable[[Heard], Arguments | None]
SUM = "calculate"
FRESH_SEARCH = "web_search"  # what another tool may know better

# in this order: what is named by its own word first, what only looks like a question last
RULES: Mapping[str, Rule] = {
    "cancel_timer": cancel_timer,
    "list_timers": list_timers,
    "set_timer": set_timer,
    "get_time": get_time,
    "end_call": end_call,
    SUM: calculate,
    FRESH_SEARCH: web_search,
}
