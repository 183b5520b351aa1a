"""The tool that tells date and time, here or in another time zone."""

from __future__ import annotations

from datetime import datetime, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, Field

from whisperfusion.runtime.local_time import local_time
from whisperfusion.tools import ServerTool
from whisperfusion.tools.builtin.arguments import check_of, schema_of
from whisperfusion.tools.running import BoundTool, Invocation, ToolError


class Place(BaseModel):
    place: str = Field(
        "",
        max_length=100,
        description="City or IANA time zone, such as Tokyo or America/New_York. Leave it out for "
        "the user's own time.",
    )


TOOL = ServerTool(
    "get_time",
    "The current date, day of the week and time, here or in another place.",
    schema_of(Place),
    "time",
)


def bound(zone: tzinfo | None) -> BoundTool:
    """`zone` is the time zone of the server's users; None = the machine's."""

    async def run(invocation: Invocation) -> str:
        place = str(invocation.arguments["place"]).strip()
        return told(local_time(zone_of(place) if place else zone), place)

    return BoundTool(TOOL, check_of(Place), run)


def told(now: datetime, place: str = "") -> str:
    """Without names from the machine's locale."""
    day = f"{DAYS[now.weekday()]}, {now.day} {MONTHS[now.month - 1]} {now.year}"
    return f"It is {day}, {now:%H:%M}{f' in {place}' if place else ''}."


def zone_of(place: str) -> ZoneInfo:
    """The time zone of a city that zones are named after, or of a zone's own name. Raises
    ToolError.
    """
    name = _zones().get(_key(place)) or _zones().get(_key(place.split(",", maxsplit=1)[0]))
    if name is None:
        raise ToolError(
            f"the time zone of {place[:60]!r} is not known; give a large city of the same time "
            "zone, or an IANA name such as Europe/Berlin"
        )
    return ZoneInfo(name)


@lru_cache(maxsize=1)
def _zones() -> dict[str, str]:
    """IANA names by themselves and by their city. A whole name has precedence."""
    names = sorted(available_timezones())
    cities = {_key(name.rsplit("/", 1)[-1]): name for name in names if "/" in name}
    return cities | {_key(name): name for name in names}


def _key(place: str) -> str:
    return place.strip().replace("_", " ").lower()


DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
