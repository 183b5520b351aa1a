"""A worker whose jobs fail as its first argument says, to see with which words its process ends.

Started by tests.
"""

from __future__ import annotations

import sys
import threading

from whisperfusion.messages import Ticket
from whisperfusion.runtime import process
from whisperfusion.runtime.worker import Worker

ERRORS = {
    "memory": MemoryError("Unable to allocate 3 GiB"),
    "gpu": RuntimeError("CUDA failed with error an illegal memory access was encountered"),
    "broken": ValueError("invalid session"),
    "unproven": ValueError("invalid session"),
}


def main(kind: str) -> None:
    failed = threading.Semaphore(0)

    def work(ticket: Ticket, job: str) -> None:
        raise ERRORS[kind]

    def probe() -> None:
        raise ERRORS[kind]

    worker: Worker[str] = Worker(
        "engine",
        work,
        failed=lambda *_: failed.release(),
        probe=None if kind == "unproven" else probe,
    )
    worker.start()
    for call in "abc":
        worker.put(Ticket(call, 1), "job")
        failed.acquire(timeout=40)
    threading.Event().wait(10)


if __name__ == "__main__":
    process.set_up_logging("info")
    main(sys.argv[1])
