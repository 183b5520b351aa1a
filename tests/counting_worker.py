"""A worker of main.py that only counts, and a supervisor of three of them: how numbers travel,
without a model.

`run` tells its numbers once, so who has them later was told by main.
"""

from __future__ import annotations

import multiprocessing
from typing import Any

import main
from whisperfusion.messages import Heartbeat, Metrics, Ready
from whisperfusion.runtime import process
from whisperfusion.settings import Settings


def run(settings: Settings, inbox: Any, outbox: Any) -> None:
    name = multiprocessing.current_process().name
    outbox.put(Ready(name, "counting", "", "cpu", 0.0))
    outbox.put(Metrics(name, (("user_turns_total", 1.0),)))
    outbox.put(Metrics(name, (("user_turns_total", 2.0),)))
    process.read_inbox(inbox, lambda message: None, lambda: outbox.put(Heartbeat(name, None)))


def supervisor(settings: Settings) -> None:
    """The real main and the real gateway around three of these."""
    process.set_up_logging("error")
    main.STAGES |= dict.fromkeys(("asr", "llm", "tts"), __name__)
    raise SystemExit(main.Supervisor(settings).run())
