"""Tools for timers that speak up later. The call keeps them; these only ask it to."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta, tzinfo

from pydantic import BaseModel, Field

from whisperfusion.messages import CancelTimer, SetTimer, Timer
from whisperfusion.runtime.local_time import local_time
from whisperfusion.tools import ServerTool
from whisperfusion.tools.builtin.arguments import NoArguments, check_of, schema_of
from whisperfusion.tools.running import BoundTool, Invocation, ToolError

LONGEST_S = 24 * 3600
MOST = 20  # timers of one call
OVER = "Your timer is over."


class Length(BaseModel):
    hours: float = Field(0, ge=0, le=24)
    minutes: float = Field(0, ge=0, le=24 * 60)
    seconds: float = Field(0, ge=0, le=LONGEST_S)
    say: str = Field(
        OVER,
        max_length=300,
        description="What to say when the time is over, in the user's language, such as: The "
        "eggs are done.",
    )


class Which(BaseModel):
    timer: str = Field(
        "", max_length=300, description="Id of the timer or words of it; leave it out for all."
    )


SET = ServerTool(
    "set_timer",
    "Set a timer or a reminder that speaks up after a while.",
    schema_of(Length),
    "timers",
    acts=True,
    silent=True,
)
LIST = ServerTool("list_timers", "The timers that are running.", schema_of(NoArguments), "timers")
CANCEL = ServerTool(
    "cancel_timer", "Cancel a timer.", schema_of(Which), "timers", acts=True, silent=True
)


def bound(zone: tzinfo | None) -> tuple[BoundTool, ...]:
    async def start(invocation: Invocation) -> str:
        given = invocation.arguments
        after_s = given["hours"] * 3600 + given["minutes"] * 60 + given["seconds"]
        if not 1 <= after_s <= LONGEST_S:
            raise ToolError("a timer runs for 1 second to 24 hours; ask the user for how long")
        if len(invocation.timers) >= MOST:
            raise ToolError(f"{MOST} timers are running already; cancel one first")
        text = given["say"].strip() or OVER
        timer = f"timer_{secrets.token_hex(3)}"
        invocation.post(SetTimer(invocation.ticket, timer, text, after_s))
        due = local_time(zone) + timedelta(seconds=after_s)
        return f"The timer is set for {length(after_s)}, until {due:%H:%M:%S}. Its id: {timer}."

    async def show(invocation: Invocation) -> str:
        now = local_time(zone)
        return "\n".join(_told(timer, now) for timer in invocation.timers) or "No timer is running."

    async def cancel(invocation: Invocation) -> str:
        chosen = _chosen(invocation.timers, invocation.arguments["timer"])
        for timer in chosen:
            invocation.post(CancelTimer(invocation.ticket, timer.id))
        return f"{len(chosen)} timer{'' if len(chosen) == 1 else 's'} cancelled."

    return (
        BoundTool(SET, check_of(Length), start),
        BoundTool(LIST, check_of(NoArguments), show),
        BoundTool(CANCEL, check_of(Which), cancel),
    )


def length(seconds: float) -> str:
    """ "1 hour 5 minutes"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "hour"), (minutes, "minute"), (rest, "second")]
    words = [f"{count} {unit}{'' if count == 1 else 's'}" for count, unit in parts if count]
    return " ".join(words) or "0 seconds"


def _told(timer: Timer, now: datetime) -> str:
    return f"{timer.id}: {timer.text} In {length(max(0.0, timer.due_at - now.timestamp()))}."


def _chosen(timers: tuple[Timer, ...], which: str) -> tuple[Timer, ...]:
    """Those with this id or these words; all for none. Raises ToolError when none fits."""
    wanted = which.strip().lower()
    if not timers:
        raise ToolError("no timer is running")
    if wanted in ("", "all"):
        return timers
    chosen = tuple(one for one in timers if wanted == one.id.lower())
    chosen = chosen or tuple(one for one in timers if wanted in one.text.lower())
    if not chosen:
        raise ToolError("no such timer; those that run: " + ", ".join(one.id for one in timers))
    return chosen
