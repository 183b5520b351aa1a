"""A process whose loop is held in several ways, one after the other; it prints what its watch
has seen. Started by tests.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import threading
import time

from whisperfusion.runtime import event_loop as loop
from whisperfusion.runtime import process


def backtrack(seconds: float) -> None:
    """A regular expression keeps the interpreter's lock and its thread; longer inputs until it
    has taken so long.
    """
    length, began = 18, time.monotonic()
    while time.monotonic() - began < seconds:
        length += 1
        re.match(r"(a+)+b", "a" * length)


def sleep(seconds: float) -> None:
    time.sleep(seconds)


async def hold(hog: str) -> None:
    loop.STALL_MONITOR.start()
    await asyncio.sleep(0)
    if hog == "thread":
        thread = threading.Thread(target=backtrack, args=(1.5,))
        thread.start()
        while thread.is_alive():
            await asyncio.sleep(0.01)
    elif hog != "nothing":
        {"backtrack": backtrack, "sleep": sleep}[hog](0.6)
    await asyncio.sleep(0)


if __name__ == "__main__":
    process.set_up_logging("info")
    loop.run(hold(sys.argv[1]))
    print(json.dumps(dict(process.process_metrics())))
