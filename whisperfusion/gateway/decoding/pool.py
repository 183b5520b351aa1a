"""Pool of decoder processes: a file that crashes, stalls or exhausts FFmpeg costs one request only.

Processes are kept warm, since importing PyAV takes 0.1 s; one that failed, or has read `FILES`
files, is replaced. Their number is bounded, also per address, and addresses that wait take turns.
A process exits when its socket is closed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, BinaryIO

from whisperfusion.audio import MICROPHONE_RATE
from whisperfusion.gateway.decoding.child import END, HEAD, PIECE, REFUSED
from whisperfusion.gateway.decoding.fair_semaphore import FairSemaphore, QueueFull
from whisperfusion.gateway.forms import IN_MEMORY
from whisperfusion.paths import run_module
from whisperfusion.wire.openai_rest import ApiError

MOST, SHARE, WAITING = 16, 12, 32  # processes; for one address; waiting files of one address
WARM = 2  # idle processes that are kept
FILES = 200  # that one process decodes
SILENT_S = 30.0  # the longest wait for the next chunk
CANCEL_S = 2.0  # for a process to stop decoding a cancelled file
BUSY_S = 10.0  # Retry-After
BUFFER = 256 * 1024  # bytes of audio that wait here
# environment variables that are passed on: no secret
KEPT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR")
SEND = "send wav, mp3, m4a, flac, ogg or webm"

log = logging.getLogger("gateway")


class DecoderPool:
    """`pieces` may be called before `running`, which starts one process and stops all."""

    def __init__(self, most: int = MOST, share: int = SHARE, silent_s: float = SILENT_S) -> None:
        self._slots, self._silent_s = FairSemaphore(most, share, WAITING), silent_s
        self._idle: list[DecoderProcess] = []
        self._children: set[DecoderProcess] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    @asynccontextmanager
    async def running(self, _: Any = None) -> AsyncIterator[None]:
        self._idle.append(await self._started())
        try:
            yield
        finally:
            self._closed = True
            for child in self._children:
                child.kill()  # which also ends the tasks that wait for it
            await asyncio.gather(*self._tasks, return_exceptions=True)
            for child in self._children:
                child.kill()
            await asyncio.gather(*(child.reaped() for child in self._children))

    async def pieces(
        self,
        file: BinaryIO,
        address: str = "",
        *,
        offset_s: float = 0.0,
        length_s: float | None = None,
        language: str | None = None,
        rate: int = MICROPHONE_RATE,
    ) -> AsyncGenerator[bytes, None]:
        """s16 mono at `rate` in chunks of about a second.

        Close it (`aclosing`). Raises ApiError.
        """
        try:
            await self._slots.acquire(address)
        except QueueFull:
            why = "too many of your files wait to be decoded; try again later"
            raise ApiError(429, why, code="rate_limit_exceeded", retry_after_s=BUSY_S) from None
        child = None
        try:
            job = {"span": (rate, offset_s, length_s), "language": language}
            # not in a thread: one that outlives a cancellation would leave it open
            number = _descriptor(file)
            try:
                child = await self._assigned(number, job)
            finally:
                os.close(number)
            while (piece := await child.piece(self._silent_s)) is not None:
                if piece:
                    yield piece
        finally:
            if child is not None and not child.busy and self._keep(child):
                self._slots.release(address)
            else:
                task = asyncio.create_task(self._ended(child, address))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _assigned(self, file: int, job: dict[str, Any]) -> DecoderProcess:
        """The process that decodes the file: an idle one that takes it, else a new one."""
        while self._idle:
            child = self._idle.pop()
            try:
                child.start(file, job)
                await child.accepted(self._silent_s)
                return child
            except (EOFError, OSError, asyncio.TimeoutError, TimeoutError):
                self._drop(child)  # it had died, or was stopped, while it was idle
            except asyncio.CancelledError:
                self._drop(child)
                raise
        child = await self._started()
        child.start(file, job)
        return child

    def _drop(self, child: DecoderProcess) -> None:
        child.kill()
        self._children.discard(child)

    async def _started(self) -> DecoderProcess:
        child = await DecoderProcess.started()
        self._children.add(child)
        return child

    def _keep(self, child: DecoderProcess) -> bool:
        fit = child.files < FILES and len(self._idle) < WARM
        if fit:
            self._idle.append(child)
        return fit

    async def _ended(self, child: DecoderProcess | None, address: str) -> None:
        """Cancel the file of an abandoned job. A process that stops in time is kept; the slot is
        free then.
        """
        try:
            if child is None or (child.busy and await child.cancel() and self._keep(child)):
                return
            self._drop(child)
            await child.reaped()
            if not self._idle and not self._closed:
                self._idle.append(await self._started())
        finally:
            self._slots.release(address)


class DecoderProcess:
    """One decoder process, and our end of its socket."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        channel: socket.socket,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process, self._channel = process, channel
        self._reader, self._writer = reader, writer
        self.files = 0
        self.busy = False  # decoding a file

    @classmethod
    async def started(cls) -> DecoderProcess:
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.to_thread(_spawn, theirs.fileno())
        streams = await asyncio.open_connection(sock=ours, limit=BUFFER)
        return cls(process, ours, *streams)

    def start(self, file: int, job: dict[str, Any]) -> None:
        """Raises OSError if the process has ended."""
        self.files += 1
        self._send({**job, "number": self.files}, [file])
        self.busy = True

    async def accepted(self, timeout_s: float) -> None:
        """Wait for the frame by which a process takes a job.

        A process that is being killed still has an open socket for a moment, so sending to it
        proves nothing. Raises EOFError, OSError, TimeoutError.
        """
        await asyncio.wait_for(self._frame(), timeout_s)

    async def piece(self, timeout_s: float) -> bytes | None:
        """The next chunk of the job; None = the end. Raises ApiError."""
        try:
            kind, data = await asyncio.wait_for(self._frame(), timeout_s)
        except (asyncio.TimeoutError, TimeoutError):
            raise _refused(f"this file takes too long to decode; {SEND}") from None
        except (EOFError, OSError):
            raise _refused(await self._exit_text()) from None
        if kind == REFUSED:
            await self._frame()
            raise _refused(data.decode())
        return data if kind == PIECE else None

    async def cancel(self) -> bool:
        """Whether the process stopped in time, and is ready for another file."""
        try:
            self._send({"cancel": self.files}, [])
            await asyncio.wait_for(self._drained(), CANCEL_S)
        except (asyncio.TimeoutError, TimeoutError, EOFError, OSError):
            return False
        return True

    def kill(self) -> None:
        self._writer.close()
        self._process.kill()

    async def reaped(self) -> int:
        return await asyncio.to_thread(self._process.wait)

    def _send(self, message: dict[str, Any], files: list[int]) -> None:
        """A line always fits into the socket: the process has a thread that reads it."""
        socket.send_fds(self._channel, [json.dumps(message).encode() + b"\n"], files)

    async def _frame(self) -> tuple[bytes, bytes]:
        kind, length = HEAD.unpack(await self._reader.readexactly(HEAD.size))
        data = await self._reader.readexactly(length)
        self.busy = kind != END
        return kind, data

    async def _drained(self) -> None:
        while (await self._frame())[0] != END:
            pass

    async def _exit_text(self) -> str:
        """Why the process is gone, for the client; the log has the signal."""
        code = await self.reaped()
        name = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        log.warning(
            "the decoder of an upload ended with %s; this request fails, others go on",
            name,
        )
        if -code == signal.SIGXCPU:
            return f"this file takes too long to decode; {SEND}"
        return f"the decoder failed on this file ({name}); {SEND}"


def _refused(why: str) -> ApiError:
    return ApiError(400, why, param="file", code="unsupported_value")


def _descriptor(file: BinaryIO) -> int:
    """A descriptor of the file's content, owned by the caller.

    Small files stay in memory where memfd exists (Linux).
    """
    size = file.seek(0, 2)
    file.seek(0)
    if size > IN_MEMORY or not hasattr(os, "memfd_create"):
        number = os.dup(file.fileno())
        file.flush()
        return number
    number = os.memfd_create("upload")
    with open(number, "wb", closefd=False) as copy:
        copy.write(file.read())
    return number


def _spawn(channel: int) -> subprocess.Popen[bytes]:
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    return subprocess.Popen(
        run_module(sys.executable, "whisperfusion.gateway.decoding.child", str(channel)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=(channel,),
        start_new_session=True,  # Ctrl-C in the terminal is for main
        env={**environment, "MALLOC_ARENA_MAX": "2"},
    )
