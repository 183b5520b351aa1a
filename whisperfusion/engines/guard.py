"""Libraries raise whatever they like at an odd text: for its caller that is the end of one text,
and not of the process.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from whisperfusion.errors import (
    EngineError,
    EngineLost,
    Unsayable,
    failed_on_input,
    first_line,
    gpu_is_full,
    lost_for_good,
)


@contextmanager
def guarded(library: str, text: str) -> Iterator[None]:
    """Any exception of `library` at `text` as Unsayable, but those after which no other text can
    be spoken either.
    """
    try:
        yield
    except (EngineError, EngineLost):
        raise
    except Exception as error:
        if lost_for_good(error):
            raise
        if gpu_is_full(error):
            raise failed_on_input(error, library) from error
        what = f"{library} cannot say {text[:80]!r} ({first_line(error)})"
        raise Unsayable(f"{what}; leave it out or write it in other words") from error
