"""Free space on the disk where sessions and batches are kept, for /metrics.

A full disk costs sessions, batches and traces before it costs a call, so operators want to know
early. A network drive that does not answer blocks who asks it: one thread waits for it, and a
scrape only for a moment.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

WAIT_S = 0.5  # of one scrape; a disk of this machine answers within a millisecond


class DiskSpace:
    """`free` returns the free bytes for a folder, and may block. To be used on one event loop."""

    def __init__(
        self,
        folder: Path,
        free: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
        wait_s: float = WAIT_S,
    ) -> None:
        self._folder, self._free, self._wait_s = folder, free, wait_s
        self._asked: asyncio.Future[int] | None = None

    async def metrics(self) -> tuple[tuple[str, float], ...]:
        """Nothing while the disk does not answer."""
        if self._asked is None or self._asked.done():
            self._asked = asyncio.ensure_future(asyncio.to_thread(self._measure))
        asked = self._asked  # meanwhile another scrape may ask anew
        done, _ = await asyncio.wait((asked,), timeout=self._wait_s)
        if not done or asked.exception() is not None:
            return ()
        return (("disk_free_bytes", float(asked.result())),)

    def _measure(self) -> int:
        """The folder is made with the first session or batch; its disk is that of its parents."""
        folder = self._folder.absolute()
        return self._free(next(one for one in (folder, *folder.parents) if one.exists()))
