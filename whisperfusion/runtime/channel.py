"""A queue between two processes that ends when either of them dies.

`multiprocessing.Queue` keeps both ends of its pipe open in both processes: a reader of a message
that a killed process has half written waits for ever, and so does the thread that writes to a dead
process. Here each process keeps only the end that it uses.
"""

from __future__ import annotations

import logging
import threading
from multiprocessing.connection import Connection
from multiprocessing.queues import Queue
from typing import Any

log = logging.getLogger("channel")


class Channel(Queue):  # type: ignore[type-arg]  # generic in name only
    """One writer, one reader. `get` raises EOFError or OSError when the writer is gone and no whole
    message is left.
    """

    # of the base class, whose published types leave them out
    _reader: Connection
    _writer: Connection
    _thread: threading.Thread | None

    def __init__(self, context: Any) -> None:
        super().__init__(ctx=context)
        self.cancel_join_thread()  # unread messages of a dead reader must not block the exit

    def only_read(self) -> None:
        """For the reader, after the writer's process was started."""
        self._writer.close()

    def only_write(self) -> None:
        """For the writer, after the reader's process was started."""
        self._reader.close()

    def close(self) -> None:
        """Ends both directions here. A `get` in progress still completes."""
        self._reader.close()  # a thread that waits for a full pipe gets an error now
        if self._thread is None:  # otherwise that thread closes it
            self._writer.close()
        super().close()

    @staticmethod
    def _on_queue_feeder_error(error: Exception, message: object) -> None:
        """In the writing thread: the message is lost. The death of the reader is detected
        elsewhere; any other error is a bug.
        """
        if not isinstance(error, OSError):
            log.error("a %s could not be sent: %r", type(message).__name__, error)
