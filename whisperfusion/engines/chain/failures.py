"""Why a link of a chain was skipped, in a word for metrics and log, and whether the link is to
blame: a request that is refused for what is in it says nothing about the next one.
"""

from __future__ import annotations

from dataclasses import dataclass

from whisperfusion import errors
from whisperfusion.engines.remote.http_stream import BrokeOff, Refused, Unreachable
from whisperfusion.engines.remote.rate_limits import UNPAID as UNPAID_CODES
from whisperfusion.engines.remote.rate_limits import error_in
from whisperfusion.errors import EngineError

LIMITED, UNPAID, OVERLOADED = 429, 402, (503, 529)
KEY, UNKNOWN = (401, 403), (404, 410)


class NoKey(EngineError):
    """The link's key is not set."""

    status = 401  # as its server would say


class Slow(EngineError):
    """No first token within the link's time."""


class Stalled(EngineError):
    """An answer that stopped coming."""


class Empty(EngineError):
    """An answer without a word."""


@dataclass(frozen=True)
class Failure:
    reason: str
    of_the_link: bool = True


def failure_of(error: BaseException, begun: bool = False) -> Failure:
    """`begun`: a part of the answer had come."""
    match error:
        case NoKey():
            return Failure("no key")
        case Slow():
            return Failure("slow")
        case Empty():
            return Failure("empty")
        case Refused():
            unpaid = error_in(error.body).get("code") in UNPAID_CODES
            return of_status(UNPAID if unpaid else error.status, error.retry_after_s > 0)
        case BrokeOff() if error.status and not begun:
            return of_status(error.status)
        case errors.Refused():  # too large for it, or it is busy with other callers
            return Failure("refused", of_the_link=False)
        case Unreachable() if not begun:
            return Failure("unreachable")
    return Failure("broke off" if begun or isinstance(error, BrokeOff) else "failed")


def of_status(status: int, told: bool = False) -> Failure:
    """`told`: the server said for how long it is to be left alone."""
    if status == LIMITED:
        return Failure("rate limit")
    if status == UNPAID:
        return Failure("no credit")
    if status in OVERLOADED:
        return Failure("overloaded")
    if status in KEY:
        return Failure("key refused")
    if status in UNKNOWN:
        return Failure("unknown model")
    if status >= 500 or status == 408 or told:
        return Failure("server error")
    return Failure("refused", of_the_link=False)
