"""The wall clock in the time zone of the assistant."""

from __future__ import annotations

from datetime import datetime, tzinfo


def local_time(zone: tzinfo | None) -> datetime:
    """Now in `zone`; None = the time zone of this machine."""
    return datetime.now().astimezone() if zone is None else datetime.now(zone)
